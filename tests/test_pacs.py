"""Studies go to a real PACS and come back, over DICOMweb and by DIMSE, recorded and with no patient named."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dicom_builder as build
import numpy as np
import pytest
from command_line import run_medvqa
from orthanc import PASSWORD, Orthanc, free_port
from pydicom import dcmread
from pydicom.uid import JPEGLSLossless, MRImageStorage, RLELossless

from audit import Log
from medvqa.dicom.sources import Limits
from medvqa.errors import LimitError, PacsError
from medvqa.pacs.finding import find
from medvqa.pacs.pulling import pull
from medvqa.pacs.queries import StudyQuery
from medvqa.sessions import Session, begin_configured_session
from medvqa.settings import load_settings

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

    from audit import Event

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PATIENT_ID = f"{build.CANARY}-17"
NODES = ["web", "get", "move"]


@pytest.fixture
def place(orthanc: Orthanc, own_place: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001
    """A working directory whose settings know the PACS, with a study to send in `sent`."""
    (tmp_path / "medvqa.toml").write_text(orthanc.settings())
    monkeypatch.setenv("MEDVQA_PACS_WEB_PASSWORD", PASSWORD)
    for number in (1, 2):
        build.write(tmp_path / "sent" / f"{number}.dcm", planted(build.image(number=number)))
    compressed = planted(build.image(build.gradient(16, 16, dtype=np.uint16), number=3))
    compressed.compress(RLELossless, generate_instance_uid=False)
    build.write(tmp_path / "sent" / "3.dcm", compressed)
    other = build.image(build.gradient(16, 16, dtype=np.uint16), number=4, SOPClassUID=MRImageStorage)
    other.SeriesInstanceUID += ".7"
    other.Modality = "MR"
    other = planted(other)
    other.compress(JPEGLSLossless, generate_instance_uid=False)
    build.write(tmp_path / "sent" / "4.dcm", other)
    return tmp_path


def planted(dataset: FileDataset) -> FileDataset:
    """With canaries in what names a patient; the ID without ^, by which Orthanc's QIDO-RS finds nobody."""
    build.planted(dataset).PatientID = PATIENT_ID
    return dataset


def pixels(folder: Path) -> dict[str, tuple[str, str]]:
    """Transfer syntax and digest of the Pixel Data's own bytes, by SOP Instance UID."""
    found: dict[str, tuple[str, str]] = {}
    for path in folder.rglob("*.dcm"):
        dataset = dcmread(path)
        digest = hashlib.sha256(dataset.PixelData).hexdigest()
        found[dataset.SOPInstanceUID] = (dataset.file_meta.TransferSyntaxUID, digest)
    return found


def events(place: Path) -> list[Event]:
    return list(Log(f"sqlite:///{place / 'trail.sqlite'}").read())


def no_patient_in(text: str) -> None:
    assert build.CANARY not in text
    assert PASSWORD not in text


@pytest.mark.parametrize("node", NODES)
def test_a_study_goes_there_and_back(
    node: str, place: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert run_medvqa("push", node, "sent") == 0
    sent = capfd.readouterr()
    assert "4 sent, 0 with a warning, 0 not taken" in sent.out
    wanted = ("--patient-id", PATIENT_ID)
    assert run_medvqa("pull", node, *wanted, "--out", "came") == 0
    came = capfd.readouterr()
    assert f"{build.STUDY_UID}: 4 fetched, 0 were there, 0 missing" in came.out
    assert pixels(place / "came") == pixels(place / "sent")
    assert {path.parent.name for path in (place / "came").rglob("*.dcm")} == {build.STUDY_UID}
    assert all(path.stem == dcmread(path).SOPInstanceUID for path in (place / "came").rglob("*.dcm"))
    for text in (sent.out, sent.err, came.out, came.err, caplog.text):
        no_patient_in(text)
    trail = events(place)
    assert [event.action for event in trail if event.action != "configure"] == [
        "send", "deliver", "find_studies", "retrieve", "receive",
    ]  # fmt: skip
    no_patient_in((place / "trail.sqlite").read_bytes().decode("latin1"))
    assert len({event.patient for event in trail if event.action != "configure"}) == 1
    received: Any = trail[-1].entity["instances"]
    files = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in place.glob("came/*/*.dcm")}
    assert received == files


@pytest.mark.parametrize("node", NODES)
def test_what_is_there_is_not_fetched_again(
    node: str, place: Path, orthanc: Orthanc, capfd: pytest.CaptureFixture[str]
) -> None:
    for path in (place / "sent").iterdir():
        orthanc.upload(path.read_bytes())
    assert run_medvqa("pull", node, "--study-uid", build.STUDY_UID, "--out", "came") == 0
    kept, gone = sorted((place / "came" / build.STUDY_UID).iterdir())[1:], build.SERIES_UID + ".1.dcm"
    before = {path: path.stat().st_mtime_ns for path in kept}
    (place / "came" / build.STUDY_UID / gone).unlink()
    assert run_medvqa("pull", node, "--study-uid", build.STUDY_UID, "--out", "came") == 0
    assert f"{build.STUDY_UID}: 1 fetched, 3 were there, 0 missing" in capfd.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in kept}
    assert pixels(place / "came") == pixels(place / "sent")


@pytest.mark.parametrize("node", ["web", "get"])
def test_studies_are_found_by_each_key_and_by_nothing_else(
    node: str, place: Path, orthanc: Orthanc, capfd: pytest.CaptureFixture[str]
) -> None:
    orthanc.upload(build.to_bytes(planted(build.image(StudyDate="20260115", Modality="CT"))))
    other = build.image(StudyDate="20250115", Modality="MR", PatientID="SOMEBODY", SOPInstanceUID="1.2.3.4")
    other.StudyInstanceUID, other.SeriesInstanceUID, other.AccessionNumber = "1.2.3", "1.2.3.1", "A1"
    orthanc.upload(build.to_bytes(other))
    for key, first, second in [
        ("--study-uid", build.STUDY_UID, "1.2.3"),
        ("--patient-id", PATIENT_ID, "SOMEBODY"),
        ("--accession", f"{build.CANARY}ACC", "A1"),
        ("--date", "20260101-20260131", "-20251231"),
        ("--modality", "CT", "MR"),
    ]:
        for value, uid in ((first, build.STUDY_UID), (second, "1.2.3")):
            assert run_medvqa("pull", node, key, value, "--list") == 0
            out = capfd.readouterr().out
            assert out.splitlines()[-1] == "1 studies"
            assert out.startswith(f"{uid}  P-")
            no_patient_in(out)
    assert run_medvqa("pull", node, "--list", "--limit", "1") == 0
    listed = capfd.readouterr()
    assert "1 studies" in listed.out
    assert "the limit of 1 studies was reached" in listed.err
    assert not (place / "came").exists()
    no_patient_in((place / "trail.sqlite").read_bytes().decode("latin1"))
    assert "SOMEBODY" not in (place / "trail.sqlite").read_bytes().decode("latin1")


def test_a_wrong_password_is_said_in_one_sentence(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MEDVQA_PACS_WEB_PASSWORD", "WRONG")
    for command in (("pull", "web", "--patient-id", build.CANARY, "--list"), ("push", "web", "sent")):
        assert run_medvqa(*command) == 17
        err = capfd.readouterr().err.strip()
        assert err.startswith("medvqa: error: the PACS web refuses who we are (HTTP 401); check user and ")
        assert err.endswith("MEDVQA_PACS_WEB_PASSWORD")
    assert [event.outcome for event in events(place) if event.action == "deliver"] == ["failed"]
    monkeypatch.delenv("MEDVQA_PACS_WEB_PASSWORD")
    assert run_medvqa("pull", "web", "--list") == 17
    assert "set MEDVQA_PACS_WEB_PASSWORD" in capfd.readouterr().err


def test_a_node_that_is_down_is_said_in_one_sentence(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    nobody = free_port()
    (place / "medvqa.toml").write_text(
        f'[pacs.web]\nurl = "http://127.0.0.1:{nobody}/dicom-web"\n'
        f'[pacs.get]\nhost = "127.0.0.1"\nport = {nobody}\naet = "ORTHANC"\n'
    )
    for node in ("web", "get"):
        assert run_medvqa("push", node, "sent") == 17
        captured = capfd.readouterr()
        assert captured.err.startswith(
            f"medvqa: error: the PACS {node} cannot be reached; see whether it is up"
        )
        assert len(captured.err.splitlines()) == 1
    assert run_medvqa("push", "elsewhere", "sent") == 17
    assert "there is no PACS 'elsewhere': those known are web, get" in capfd.readouterr().err


def test_a_pacs_that_does_not_know_our_move_destination(
    place: Path, orthanc: Orthanc, capfd: pytest.CaptureFixture[str]
) -> None:
    orthanc.upload((place / "sent" / "1.dcm").read_bytes())
    settings = orthanc.settings().replace('retrieve = "move"', 'retrieve = "move"\nown_aet = "STRANGER"')
    (place / "medvqa.toml").write_text(settings)
    assert run_medvqa("pull", "move", "--study-uid", build.STUDY_UID, "--out", "came") == 17
    assert re.search("does not know STRANGER as a destination|could not do it", capfd.readouterr().err)
    assert not list(place.glob("came/*/*"))


def session_at(place: Path) -> tuple[Session, Any]:
    settings = load_settings()
    return begin_configured_session(Log(f"sqlite:///{place / 'trail.sqlite'}"), settings), settings.pacs


@pytest.mark.parametrize("node", NODES)
def test_limits_stop_a_study_that_is_too_large(node: str, place: Path, orthanc: Orthanc) -> None:
    for path in (place / "sent").iterdir():
        orthanc.upload(path.read_bytes())
    session, nodes = session_at(place)
    query = StudyQuery(study_instance_uid=build.STUDY_UID)
    with pytest.raises(LimitError, match="more than 2 instances"):
        list(pull(session, nodes[node], query, place / "few", limits=Limits(files=2)))
    with pytest.raises(LimitError, match="more than 1,500 bytes"):
        list(pull(session, nodes[node], query, place / "small", limits=Limits(archive_bytes=1500)))
    assert len(list(place.glob("small/*/*.dcm"))) == 1
    assert not (place / "few").exists()
    tiny = Limits(file_bytes=100)
    with pytest.raises(PacsError):
        list(pull(session, nodes[node], query, place / "tiny", limits=tiny))
    assert not list(place.glob("tiny/*/*.dcm"))


def test_nothing_is_asked_that_cannot_be_recorded(place: Path, orthanc: Orthanc) -> None:
    session, nodes = session_at(place)
    session.log.close()
    (place / "trail.sqlite").unlink()
    (place / "trail.sqlite").mkdir()
    with pytest.raises(Exception, match=r"could not be recorded|cannot be"):
        find(session, nodes["web"], StudyQuery(modality="CT"))
    assert orthanc.instances() == {}
