"""`medvqa deidentify`: copies, a report, a row of the trail before both; and what stays behind."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from command_line import run_medvqa
from dicom_builder import image, item, write
from planting import HEADER_CANARY, planted
from pydicom import dcmread
from pydicom.uid import BasicTextSRStorage, EncapsulatedPDFStorage
from test_deidentified_pixels import with_text

import audit
from medvqa.errors import DeidentificationError, GateError, RecordError
from medvqa.gate import check_leaving
from medvqa.study import read_study

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_place")]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / f"in {HEADER_CANARY}"
    rng = np.random.default_rng(0)
    noise = (rng.random((96, 240)) * 60).astype(np.uint8)
    burned = image(
        with_text(noise, ("DOE JANE", (10, 20))), number=2, PatientID="H-4711", PatientName="Doe^Jane"
    )
    burned.ReferencedImageSequence = [item(ReferencedSOPInstanceUID=image(number=1).SOPInstanceUID)]
    full = planted(noise, number=1, PatientID="H-4711")
    del full.IssuerOfPatientID
    write(folder / f"{HEADER_CANARY}.dcm", full)
    write(folder / "burned.dcm", burned)
    (folder / "notes.txt").write_text(HEADER_CANARY)
    return folder


def add_what_is_no_image(folder: Path) -> None:
    for number, kind in ((7, BasicTextSRStorage), (8, EncapsulatedPDFStorage)):
        other = image(number=number, SOPClassUID=kind, PixelData=None, Rows=None, Columns=None)
        other.PatientName = other.TextValue = HEADER_CANARY
        write(folder / f"{number}.dcm", other)


def events(tmp_path: Path) -> list[audit.Event]:
    with audit.Log(f"sqlite:///{tmp_path / 'trail.sqlite'}", create=False) as log:
        assert log.verify().intact
        return [event for event in log.read() if event.action == "deidentify"]


def test_a_study_becomes_a_copy_that_may_leave(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run_medvqa("deidentify", study, "--out", out) == 0, capsys.readouterr().err
    said = capsys.readouterr()
    assert "2 instances written, 1 of them masked" in said.out
    copies = sorted(out.rglob("*.dcm"))
    assert len(copies) == 2
    for file in out.rglob("*"):
        assert HEADER_CANARY not in file.name
        if file.is_file():
            content = file.read_bytes()
            assert [one for one in (HEADER_CANARY, "H-4711", "Jane", "JANE") if one.encode() in content] == []
    assert HEADER_CANARY not in said.out + said.err
    with pytest.raises(GateError, match="medvqa deidentify"):
        check_leaving(read_study(study))
    check_leaving(read_study(out))
    # The report, its digest in the trail, and the digests of the copies in it.
    (report,) = out.glob("report-*.json")
    described = json.loads(report.read_text())
    (event,) = events(tmp_path)
    assert event.entity["report_sha256"] == hashlib.sha256(report.read_bytes()).hexdigest()
    assert (event.patient, event.subject) == (None, described["run"])
    assert {one["file"]: one["sha256"] for one in described["instances"]} == {
        file.relative_to(out).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in copies
    }
    assert described["files_not_dicom"] == 1
    first, second = sorted(map(dcmread, copies), key=lambda one: one.InstanceNumber)
    assert second.ReferencedImageSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert first.PatientID == second.PatientID == str(first.PatientName)
    # The same again gives the same, but not into the same place.
    assert run_medvqa("deidentify", study, "--out", out) == DeidentificationError.exit_code
    assert run_medvqa("deidentify", study, "--out", tmp_path / "again") == 0
    again = {file.name: file.read_bytes() for file in (tmp_path / "again").rglob("*.dcm")}
    assert again == {file.name: file.read_bytes() for file in copies}


def test_what_cannot_be_cleaned_is_named_and_left_behind(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_what_is_no_image(study)
    out = tmp_path / "out"
    assert (
        run_medvqa("deidentify", study, "--out", out, "--patient", "CASE-9")
        == DeidentificationError.exit_code
    )
    said = capsys.readouterr()
    assert "left out: 8.dcm holds no image (Encapsulated PDF Storage)" in said.err
    assert "left out: 7.dcm holds no image (Basic Text SR Storage)" in said.err
    assert "2 objects were left out" in said.err
    assert len(list(out.rglob("*.dcm"))) == 2
    assert {dcmread(file).PatientID for file in out.rglob("*.dcm")} == {"CASE-9"}
    (report,) = out.glob("report-*.txt")
    assert "it holds no image (Encapsulated PDF Storage)" in report.read_text()
    assert HEADER_CANARY not in report.read_text()


def test_the_way_back_is_written_only_where_asked_for(study: Path, tmp_path: Path) -> None:
    out, way_back = tmp_path / "out", tmp_path / "kept" / "map.json"
    assert run_medvqa("deidentify", study, "--out", out, "--map", out / "map.json") == 16
    assert not out.exists()
    assert run_medvqa("deidentify", study, "--out", out, "--map", way_back) == 0
    kept = json.loads(way_back.read_text())
    assert way_back.stat().st_mode & 0o077 == 0
    copy = dcmread(next(out.rglob("*.dcm")))
    assert kept["patients"][copy.PatientID]["patient_id"] == "H-4711"
    assert kept["uids"][copy.SOPInstanceUID].startswith(image().SeriesInstanceUID)


def test_nothing_is_written_unless_it_is_recorded(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RecordError("no")

    monkeypatch.setattr("medvqa.deidentification.deidentifying.records.record", refuse)
    assert run_medvqa("deidentify", study, "--out", tmp_path / "out") == RecordError.exit_code
    assert not (tmp_path / "out").exists()


def test_two_patients_do_not_share_a_code(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(study / "other.dcm", image(number=3, PatientID="H-4712"))
    assert run_medvqa("deidentify", study, "--out", tmp_path / "out", "--patient", "X") == 16
    assert "several patients" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
