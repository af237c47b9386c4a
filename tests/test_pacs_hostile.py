"""A PACS that lies: UIDs that would be paths, studies of others, answers without end."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dicom_builder as build
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage
from pynetdicom import AE, evt

from audit import Log
from medvqa.dicom.sources import Limits
from medvqa.errors import PacsError
from medvqa.pacs.finding import find
from medvqa.pacs.pulling import pull
from medvqa.pacs.queries import StudyQuery
from medvqa.pacs.receiving import TRANSFER_SYNTAXES
from medvqa.pacs_nodes import DicomwebNode, DimseNode
from medvqa.records import Agent
from medvqa.sessions import Session, begin_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medvqa.pacs_nodes import PacsNode

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.* VR UI")]

FIND, GET = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.3"
EVIL = ["../../evil", "/tmp/evil", "..", "1.2/3", "", "1" * 65]  # noqa: S108
QUERY = StudyQuery(study_instance_uid=build.STUDY_UID)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    log = Log(f"sqlite:///{tmp_path / 'trail.sqlite'}")
    return begin_session(log, Agent(name="tester"), key_folder=tmp_path / "keys")


def answer(**elements: Any) -> Dataset:
    return build.item(**elements)


def files() -> list[Any]:
    """One that was asked for, one with a path as UID, one of another study, one that nobody asked for."""
    sent = [build.image(number=number) for number in (1, 2, 3, 4)]
    sent[1].SOPInstanceUID = "../../../evil"
    sent[2].StudyInstanceUID = "1.2.3"
    return sent


@contextmanager
def lying_scp() -> Iterator[DimseNode]:
    """Answers any query with more than was asked, and any C-GET with what nobody asked for."""

    def on_find(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        level = event.identifier.QueryRetrieveLevel
        if level == "STUDY":
            for uid in (*EVIL, "1.2.3", build.STUDY_UID):
                yield 0xFF00, answer(StudyInstanceUID=uid, QueryRetrieveLevel="STUDY", PatientID="OTHER")
        elif level == "SERIES":
            for uid in (*EVIL, build.SERIES_UID):
                yield 0xFF00, answer(SeriesInstanceUID=uid, QueryRetrieveLevel="SERIES")
        else:
            for uid in (*EVIL, f"{build.SERIES_UID}.1", f"{build.SERIES_UID}.3"):
                yield (
                    0xFF00,
                    answer(SOPInstanceUID=uid, SOPClassUID=CTImageStorage, QueryRetrieveLevel="IMAGE"),
                )
        yield 0x0000, None

    def on_get(_: evt.Event) -> Iterator[Any]:
        yield len(files())
        for dataset in files():
            yield 0xFF00, dataset

    ae = AE(ae_title="LIAR")
    ae.add_supported_context(FIND)
    ae.add_supported_context(GET)
    ae.add_supported_context(CTImageStorage, list(TRANSFER_SYNTAXES), scu_role=True, scp_role=True)
    handlers: list[Any] = [(evt.EVT_C_FIND, on_find), (evt.EVT_C_GET, on_get)]
    server: Any = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield DimseNode(name="liar", host="127.0.0.1", port=server.server_address[1], aet="LIAR")
    finally:
        ae.shutdown()


@contextmanager
def http_server(respond: Any) -> Iterator[DicomwebNode]:
    """A DICOMweb service that gives what `respond` returns for a path: status, content type and body."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content_type, body = respond(self.path)
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            if status == 302:
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.end_headers()
            for chunk in body:
                self.wfile.write(chunk)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield DicomwebNode(name="liar", url=f"http://127.0.0.1:{server.server_address[1]}/dicom-web")
    finally:
        server.shutdown()
        server.server_close()


def lying_service(path: str) -> tuple[int, str, list[bytes]]:
    resource = path.partition("?")[0]
    if resource.endswith("/studies"):
        found = [answer(StudyInstanceUID=uid, PatientID="OTHER") for uid in (*EVIL, "1.2.3", build.STUDY_UID)]
    elif resource.endswith("/instances"):
        uids = (*EVIL, f"{build.SERIES_UID}.1", f"{build.SERIES_UID}.2", f"{build.SERIES_UID}.3")
        found = [answer(SOPInstanceUID=uid, SeriesInstanceUID=build.SERIES_UID) for uid in uids]
    else:
        sent = BytesIO(build.to_bytes(files()[int(resource[-1]) - 1]))
        head = b"--B\r\nContent-Type: application/dicom\r\n\r\n"
        return (
            200,
            'multipart/related; type="application/dicom"; boundary=B',
            [head + sent.getvalue() + b"\r\n--B--\r\n"],
        )
    return 200, "application/dicom+json", [json.dumps([one.to_json_dict() for one in found]).encode()]


def check(session: Session, node: PacsNode, tmp_path: Path) -> None:
    (study,) = find(session, node, QUERY)
    assert study.study_instance_uid == build.STUDY_UID
    assert find(session, node, StudyQuery(patient_id="SOMEBODY")) == []
    (pulled,) = pull(session, node, QUERY, tmp_path / "deep" / "came")
    assert pulled.fetched == 1
    assert pulled.missing >= 1
    kept = [path.relative_to(tmp_path / "deep") for path in (tmp_path / "deep").rglob("*") if path.is_file()]
    assert kept == [Path("came") / build.STUDY_UID / f"{build.SERIES_UID}.1.dcm"]
    assert not list(tmp_path.rglob("evil*"))
    received = list(session.log.read())[-1]
    assert (received.action, received.outcome) == ("receive", "failed")


def test_what_a_lying_scp_says_reaches_no_path(session: Session, tmp_path: Path) -> None:
    with lying_scp() as node:
        check(session, node, tmp_path)


def test_what_a_lying_service_says_reaches_no_path(session: Session, tmp_path: Path) -> None:
    with http_server(lying_service) as node:
        check(session, node, tmp_path)


@pytest.mark.parametrize(
    ("status", "content_type", "body", "message"),
    [
        (200, "text/html", [b"<p>SECRET</p>"], "answers with what is no DICOMweb"),
        (200, "application/dicom+json", [b'[{"0020000D": {"vr": "UI", "Value": 7}}]'], "no DICOMweb"),
        (200, "application/dicom+json", [b"[1, 2]"], "no DICOMweb"),
        (200, "application/dicom+json", [b"[" * 100_000], "no DICOMweb"),
        (302, "text/plain", [b""], "sends us elsewhere"),
        (403, "text/plain", [b"SECRET"], "refuses who we are"),
        (503, "text/plain", [b"SECRET"], r"could not do it \(HTTP 503\)"),
    ],
)
def test_a_broken_answer_is_one_sentence(
    status: int, content_type: str, body: list[bytes], message: str, session: Session
) -> None:
    with http_server(lambda _: (status, content_type, body)) as node:
        with pytest.raises(PacsError, match=message) as caught:
            find(session, node, StudyQuery(patient_id="SECRET"))
        assert "SECRET" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_an_endless_answer_is_cut_off(session: Session) -> None:
    body = [b" " * 65_536] * 200
    with (
        http_server(lambda _: (200, "application/dicom+json", body)) as node,
        pytest.raises(PacsError, match="more than 100,000 bytes"),
    ):
        find(session, node, QUERY, limits=Limits(file_bytes=100_000))
