"""Pseudonyms: one a patient and key; the key is made once; a patient's identity shows nowhere."""

from __future__ import annotations

import copy
import logging
import pickle
import re
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from threading import Barrier

import dicom_builder
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from audit import Entry, KeyFileError, Log
from medvqa.errors import RecordError
from medvqa.pseudonyms import KEY_FILE, fingerprint, open_key, pseudonym
from medvqa.study import read_study
from medvqa.types import PatientIdentity

KEYS = st.binary(min_size=32, max_size=32)
NAMES = st.text(max_size=64)
CANARY = "CANARY"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with Log(f"sqlite:///{tmp_path / 'audit.sqlite'}") as opened:
        yield opened


@given(key=KEYS, patient_id=NAMES, issuer=NAMES)
def test_a_pseudonym_is_always_the_same_and_printable(key: bytes, patient_id: str, issuer: str) -> None:
    named = pseudonym(key, patient_id, issuer)
    assert re.fullmatch("P-[A-Z2-7]{26}", named)
    assert named == pseudonym(key, patient_id, issuer)


@given(key=KEYS, one=st.tuples(NAMES, NAMES), other=st.tuples(NAMES, NAMES))
def test_different_patients_never_share_one(key: bytes, one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (pseudonym(key, *one) == pseudonym(key, *other)) == (one == other)


@given(key=KEYS, text=st.text(min_size=1, max_size=20), cut=st.integers(0, 20), other=st.integers(0, 20))
def test_where_the_issuer_ends_counts(key: bytes, text: str, cut: int, other: int) -> None:
    split, moved = min(cut, len(text)), min(other, len(text))
    same = pseudonym(key, text[split:], text[:split]) == pseudonym(key, text[moved:], text[:moved])
    assert same == (split == moved)


@given(key=KEYS, other=KEYS, patient_id=NAMES)
def test_another_key_gives_another_pseudonym(key: bytes, other: bytes, patient_id: str) -> None:
    assert (pseudonym(key, patient_id) == pseudonym(other, patient_id)) == (key == other)
    assert (fingerprint(key) == fingerprint(other)) == (key == other)


def test_the_construction_is_the_one_documented() -> None:
    """By hand: HMAC-SHA-256 as RFC 2104 has it, over `7:Charité` (8 bytes in UTF-8) and the Patient ID."""
    import base64
    import hashlib

    key = bytes(range(32))
    inner = hashlib.sha256(bytes(one ^ 0x36 for one in key.ljust(64, b"\0")) + "8:Charité4711".encode())
    outer = hashlib.sha256(bytes(one ^ 0x5C for one in key.ljust(64, b"\0")) + inner.digest()).digest()
    by_hand = "P-" + base64.b32encode(outer[:16]).decode()[:26]
    assert pseudonym(key, "4711", "Charité") == by_hand


def test_the_key_is_made_on_the_first_run_for_its_owner_alone(tmp_path: Path, log: Log) -> None:
    key = open_key(tmp_path / "keys", log)
    assert len(key) == 32
    assert open_key(tmp_path / "keys", log) == key
    assert stat.S_IMODE((tmp_path / "keys" / KEY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "keys").iterdir()] == [KEY_FILE]
    assert open_key(tmp_path / "other", log) != key


def test_many_first_runs_at_once_agree_on_one_key(tmp_path: Path, log: Log) -> None:
    at_once = Barrier(8)

    def first_run(_: int) -> bytes:
        at_once.wait()
        return open_key(tmp_path / "keys", log)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(first_run, range(8)))) == 1
    assert [path.name for path in (tmp_path / "keys").iterdir()] == [KEY_FILE]


def test_a_missing_key_is_not_made_anew_for_a_trail_that_names_patients(tmp_path: Path, log: Log) -> None:
    key = open_key(tmp_path / "keys", log)
    entry = Entry(agent="a", action="ask", subject="s", entity={}, patient=pseudonym(key, "17"))
    log.append(entry)
    kept = (tmp_path / "keys" / KEY_FILE).rename(tmp_path / "backup")
    with pytest.raises(RecordError, match="restore it from its backup"):
        open_key(tmp_path / "keys", log)
    assert not list((tmp_path / "keys").iterdir())
    kept.rename(tmp_path / "keys" / KEY_FILE)
    assert open_key(tmp_path / "keys", log) == key


@pytest.mark.parametrize("content", ["", "no key", "c2hvcnQ=", "=" * 44])
def test_a_malformed_key_is_an_error_that_does_not_quote_it(tmp_path: Path, log: Log, content: str) -> None:
    path = tmp_path / KEY_FILE
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="malformed; restore it") as caught:
        open_key(tmp_path, log)
    assert caught.value.__cause__ is None
    assert not content or content not in str(caught.value)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path, log: Log) -> None:
    open_key(tmp_path, log)
    (tmp_path / KEY_FILE).chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        open_key(tmp_path, log)


@given(patient_id=st.text(min_size=1).map(lambda text: CANARY + text), issuer=NAMES)
def test_an_identity_shows_in_no_text_copy_or_pickle(patient_id: str, issuer: str) -> None:
    identity = PatientIdentity(patient_id=patient_id, issuer=issuer)
    assert {str(identity), repr(identity), f"{identity}", "%s %r" % (identity, [identity])} == {  # noqa: UP031
        "PatientIdentity(withheld)",
        "PatientIdentity(withheld) [PatientIdentity(withheld)]",
    }
    assert copy.deepcopy(identity) is copy.copy(identity) is identity
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not pickled") as caught:
            pickle.dumps(identity, protocol)
        assert CANARY not in str(caught.value)
    assert not hasattr(identity, "__dict__")


def test_a_study_carries_its_patient_unseen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    dataset = dicom_builder.image(PatientID=f" {CANARY} ", IssuerOfPatientID="Charité")
    dataset.SpecificCharacterSet = "ISO_IR 100"
    study = read_study(dicom_builder.write(tmp_path / "one.dcm", dataset))
    assert study.patient == PatientIdentity(patient_id=CANARY, issuer="Charité")
    logging.getLogger("a log").warning("%s", study)
    image = study.images[0]
    said = f"{study!r} {image!r} {asdict(image)} {replace(study, warnings=())} {caplog.text}"
    assert CANARY not in said
    assert "Charité" not in said


@pytest.mark.parametrize("identity", [{}, {"PatientID": ""}, {"PatientID": "  "}, {"IssuerOfPatientID": "x"}])
def test_no_patient_id_is_no_patient(tmp_path: Path, identity: dict[str, str]) -> None:
    path = dicom_builder.write(tmp_path / "one.dcm", dicom_builder.image(**identity))
    assert read_study(path).patient is None


def test_files_of_several_patients_are_noticed_and_named_by_none(tmp_path: Path) -> None:
    for number, patient_id in enumerate(("17", "18", None), start=1):
        dataset = dicom_builder.image(number=number, PatientID=patient_id)
        dicom_builder.write(tmp_path / f"{number}.dcm", dataset)
    study = read_study(tmp_path)
    assert study.patient is None
    assert "several_patients" in [notice.code for notice in study.warnings]
    (tmp_path / "2.dcm").unlink()
    study = read_study(tmp_path)
    assert study.patient == PatientIdentity(patient_id="17")
    assert "several_patients" not in [notice.code for notice in study.warnings]


@pytest.mark.filterwarnings("ignore:Failed to decode byte string with encoding")
def test_bytes_of_no_character_set_still_tell_patients_apart(tmp_path: Path) -> None:
    found = set[PatientIdentity | None]()
    for number, byte in enumerate((0xE4, 0xF6)):
        dataset = dicom_builder.image(SpecificCharacterSet="ISO_IR 192", PatientID="A_B")
        path = dicom_builder.write(tmp_path / f"{number}.dcm", dataset)
        path.write_bytes(path.read_bytes().replace(b"A_B", bytes((0x41, byte, 0x42))))
        found.add(read_study(path).patient)
    assert len(found) == 2
    assert None not in found


def test_an_identity_of_another_type_is_none(tmp_path: Path) -> None:
    dataset = dicom_builder.image()
    dataset.add_new(0x0010_0020, "SQ", [Dataset()])
    assert read_study(dicom_builder.write(tmp_path / "one.dcm", dataset)).patient is None
