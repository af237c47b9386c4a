"""What medvqa.toml says of a PACS is checked, and no secret comes into settings; queries name one patient."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import Log
from medvqa.errors import PacsError, SettingsError
from medvqa.pacs.credentials import credentials_of
from medvqa.pacs.queries import StudyQuery, is_uid
from medvqa.pacs_nodes import DicomwebNode, DimseNode, check_nodes
from medvqa.sessions import begin_configured_session
from medvqa.settings import load_settings

WEB = {"url": "https://pacs.example.org/dicom-web"}
DIMSE = {"host": "pacs.example.org", "port": 11112, "aet": "ARCHIVE"}


def test_nodes_are_tables_of_the_file_and_recorded(own_place: None, tmp_path: Path) -> None:  # noqa: ARG001
    (tmp_path / "medvqa.toml").write_text(
        '[pacs.web]\nurl = "https://pacs.example.org/dicom-web"\nuser = "medvqa"\nca = "ca.pem"\n'
        '[pacs.modality]\nhost = "10.0.0.7"\nport = 104\naet = "CT 1"\n'
        'retrieve = "move"\nreceive_port = 11113\n'
    )
    loaded = load_settings()
    assert loaded.pacs == {
        "web": DicomwebNode(name="web", url=WEB["url"], user="medvqa", ca=tmp_path / "ca.pem"),
        "modality": DimseNode(
            name="modality", host="10.0.0.7", port=104, aet="CT 1", retrieve="move", receive_port=11113
        ),
    }
    log = Log(loaded.audit_url)
    begin_configured_session(log, loaded)
    (event,) = log.read()
    recorded = event.entity["settings"]
    assert isinstance(recorded, dict)
    assert recorded["pacs"]["web"]["ca"] == str(tmp_path / "ca.pem")  # type: ignore[index,call-overload]
    assert recorded["pacs"]["modality"]["receive_port"] == 11113  # type: ignore[index,call-overload]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, r"either url \(DICOMweb\) or host, port and aet"),
        ({**WEB, **DIMSE}, "either url"),
        ({"host": "here"}, "has no port and no aet"),
        ({**WEB, "password": "SECRET"}, "holds a password; take it out and set MEDVQA_PACS_NODE_PASSWORD"),
        ({**WEB, "token": "SECRET"}, "set MEDVQA_PACS_NODE_TOKEN"),
        ({"url": "https://me:SECRET@here/dicom-web"}, "without a user, a password or a query"),
        ({"url": "https://here/dicom-web?key=SECRET"}, "without a user"),
        ({"url": "ftp://here"}, "begins with http"),
        ({"url": "https://here:99999/"}, "begins with http"),
        ({**WEB, "prot": 1}, "unknown key 'prot'; the keys are url, user"),
        ({**DIMSE, "port": True}, "port from 1 to 65535"),
        ({**DIMSE, "aet": "SEVENTEEN LETTERS"}, "AE title of 1 to 16"),
        ({**DIMSE, "aet": "A\\B"}, "AE title"),
        ({**DIMSE, "tls": "no"}, "true or false"),
        ({**DIMSE, "ca": "ca.pem"}, "does not say tls = true"),
        ({**DIMSE, "retrieve": "move"}, "receive_port"),
        ({**DIMSE, "receive_port": 11113}, "or neither"),
        ({**DIMSE, "tls": True, "retrieve": "move", "receive_port": 1}, "no certificate"),
        ({**WEB, "certificate_key": "key.pem"}, "but no certificate"),
    ],
)
def test_a_node_told_wrongly_is_refused(table: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        check_nodes({"node": table}, "key 'pacs' in medvqa.toml")
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "Two", "a-b", "../x", "ä", "1st"])
def test_a_name_that_no_variable_could_have_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="names a node"):
        check_nodes({name: WEB}, "pacs")


def test_secrets_come_from_the_environment_and_go_out_encrypted_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MEDVQA_PACS_A_PASSWORD", "SECRET")
    monkeypatch.setenv("MEDVQA_PACS_B_TOKEN", "TOKEN")
    named = DicomwebNode(name="a", url="https://pacs.example.org/", user="medvqa")
    assert credentials_of(named).password == "SECRET"  # noqa: S105
    assert "SECRET" not in repr(credentials_of(named))
    assert credentials_of(DicomwebNode(name="b", url="https://pacs.example.org/")).token == "TOKEN"  # noqa: S105
    assert credentials_of(DicomwebNode(name="b", url="http://127.0.0.1:8042/")).token == "TOKEN"  # noqa: S105
    for node, way_out in [
        (DicomwebNode(name="b", url="http://pacs.example.org/"), "write https"),
        (DimseNode(name="a", host="pacs.example.org", port=104, aet="X", user="medvqa"), "set tls = true"),
    ]:
        with pytest.raises(PacsError, match=way_out) as caught:
            credentials_of(node)
        assert "SECRET" not in str(caught.value)
        assert "TOKEN" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"study_instance_uid": "../1.2"},
        {"study_instance_uid": "1.2.*"},
        {"patient_id": "*"},
        {"patient_id": "A\\B"},
        {"patient_id": ""},
        {"accession_number": "A?"},
        {"study_date": "2026-01-31"},
        {"study_date": "20260132"},
        {"study_date": "20260201-20260101"},
        {"study_date": "-"},
        {"modality": "MR\\CT"},
        {"limit": 0},
    ],
)
def test_a_query_that_would_match_others_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(PacsError) as caught:
        StudyQuery(**given)  # type: ignore[arg-type]
    assert "A\\B" not in str(caught.value)


def test_a_query_shows_no_identifier() -> None:
    query = StudyQuery(patient_id="CANARY", accession_number="CANARY", study_date="19990101-")
    assert "CANARY" not in repr(query)
    assert "1999" not in repr(query)
    assert query.restricted_by == ("patient_id", "accession_number", "study_date")


@settings(max_examples=50)
@given(st.text(max_size=70) | st.text("01.9/\n", max_size=70))
def test_a_uid_is_harmless_as_the_name_of_a_file(text: str) -> None:
    if is_uid(text):
        assert set(text) <= set("0123456789.")
        assert len(text) <= 64
        assert (Path("/folder") / text).resolve().parent == Path("/folder")


@settings(max_examples=50)
@given(st.lists(st.integers(min_value=0, max_value=10**9), min_size=2, max_size=5))
def test_every_uid_is_one(components: list[int]) -> None:
    assert is_uid(".".join(map(str, components)))
