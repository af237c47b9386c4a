"""Simulated findings as files: what was written is what is read, and nothing of a patient is in it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import dicom_builder
import highdicom
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from planting import DATE_CANARY, HEADER_CANARY, planted
from pydicom.uid import MRImageStorage
from typer.testing import CliRunner

from audit import Log
from medvqa.assistant import Assistant
from medvqa.cli import app
from medvqa.errors import DicomError, GateError, MedvqaError
from medvqa.gate import check_image
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.simulated_findings import KINDS, SimulatedFinding, read_findings, write_findings
from medvqa.study import read_study

OBLIQUE = [0.8, 0.6, 0.0, 0.0, 0.0, -1.0]
POSITION = [-12.5, 3.25, 40.125]
IMAGES = ("image", "image_without", "image_mirrored")
SEGMENTATIONS = ("segmentation", "segmentation_mirrored")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind on every phantom."""
    folder = tmp_path_factory.mktemp("findings")
    write_findings(folder, seed=11)
    return folder


@pytest.fixture(scope="module")
def findings(folder: Path) -> tuple[SimulatedFinding, ...]:
    return read_findings(folder)


def shaded(rows: int, columns: int) -> np.ndarray:
    """Stored values (rows, columns) on which a finding can be seen anywhere."""
    rng = np.random.default_rng(rows * 1000 + columns)
    return (np.linspace(300, 1200, columns)[None, :] + rng.integers(0, 200, (rows, columns))).astype(np.int16)


def pixels_of(path: Path) -> np.ndarray:
    return pydicom.dcmread(path).pixel_array


def one_written(folder: Path, *, source: Path, kind: str = "nodule", seed: int = 3) -> SimulatedFinding:
    return write_findings(folder, sources=[source], kinds=[kind], seed=seed)[0]


def test_every_kind_meets_every_phantom(findings: tuple[SimulatedFinding, ...]) -> None:
    assert Counter(one.kind for one in findings) == dict.fromkeys(KINDS, 3)
    assert len({(one.kind, one.origin) for one in findings}) == 15
    assert {one.modality for one in findings} == {"MR", "DX", "US"}
    assert [one.number for one in findings] == list(range(1, 16))


def test_images_differ_exactly_inside_the_mask(findings: tuple[SimulatedFinding, ...]) -> None:
    for one in findings:
        mask = one.mask()
        assert mask.dtype == bool
        assert mask.shape == (one.rows, one.columns)
        assert (mask == (pixels_of(one.image) != pixels_of(one.image_without))).all()
        assert mask.any()


def test_masks_lie_where_the_truth_says(findings: tuple[SimulatedFinding, ...]) -> None:
    for one in findings:
        row, column = (grid[one.mask()] + 0.5 for grid in np.indices((one.rows, one.columns)))
        assert np.hypot(row - one.row, column - one.column).max() <= one.size / 2 + 1
        vertical = "upper" if row.mean() < one.rows / 2 else "lower"
        horizontal = "left" if column.mean() < one.columns / 2 else "right"
        assert (one.quadrant, one.side) == (f"{vertical} {horizontal}", horizontal)


def test_the_mirrored_image_is_the_mirror_of_the_image_and_so_is_its_truth(
    findings: tuple[SimulatedFinding, ...],
) -> None:
    other = {"left": "right", "right": "left"}
    for one in findings:
        assert (pixels_of(one.image_mirrored) == pixels_of(one.image)[:, ::-1]).all()
        assert (one.mask(mirrored=True) == one.mask()[:, ::-1]).all()
        assert (one.mask(mirrored=True) != one.mask()).any()
        _, where, which = one.questions
        assert where.answer_mirrored == where.answer.replace(one.side, other[one.side])
        assert which.answer_mirrored == f"{other[one.side]} side of the image"


def test_answers_flip_between_the_images(findings: tuple[SimulatedFinding, ...]) -> None:
    for one in findings:
        present, where, which = one.questions
        assert (present.answer, present.answer_without, present.answer_mirrored) == ("yes", "no", "yes")
        assert where.answer == f"{one.quadrant} quadrant"
        assert which.answer == f"{one.side} side of the image"
        assert where.answer_without == which.answer_without == f"there is no {one.kind}"
        assert all(one.kind in asked.question for asked in one.questions)


def test_the_gate_and_read_study_take_all_files_as_they_are_meant_to_be_shown(
    findings: tuple[SimulatedFinding, ...],
) -> None:
    for one in findings:
        for name in IMAGES:
            study = read_study(getattr(one, name))
            image = study.images[0]
            assert study.warnings == check_image(image, modalities=frozenset({one.modality})) == ()
            assert np.abs(image.pixels - pixels_of(getattr(one, name)) / 4095).max() < 1e-6
    case = read_study(findings[0].image.parent)
    assert len(case.images) == 3
    assert {notice.code for notice in case.warnings} == {"not_an_image"}


def test_a_seg_says_of_which_image_it_is_and_who_drew_it(findings: tuple[SimulatedFinding, ...]) -> None:
    for one in findings:
        image, seg = pydicom.dcmread(one.image), highdicom.seg.segread(one.segmentation)
        assert seg.get_source_image_uids() == [
            (image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID)
        ]
        assert seg.SegmentationType == "BINARY"
        description = seg.get_segment_description(1)
        assert description.segment_label == f"simulated {one.kind}"
        assert description.algorithm_identification.name == "medvqa simulation"
        assert description.segmented_property_type.meaning
        assert seg.get("FrameOfReferenceUID") == image.get("FrameOfReferenceUID")
        assert "FrameOfReferenceUID" in image or one.modality != "MR"


def test_a_mask_of_another_image_is_refused(findings: tuple[SimulatedFinding, ...], tmp_path: Path) -> None:
    first, second = findings[:2]
    with pytest.raises(DicomError, match=r"with-truth\.dcm is no SEG of with\.dcm"):
        replace(first, segmentation=second.segmentation).mask()
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"no DICOM")
    with pytest.raises(DicomError, match="is no SEG of"):
        replace(first, segmentation=broken).mask()


def test_the_same_seed_writes_the_same_images_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (
        write_findings(tmp_path / name, kinds=["opacity"], count=2, seed=seed)
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    for one, same, another in zip(first, again, other, strict=True):
        for name in IMAGES:
            assert getattr(one, name).read_bytes() == getattr(same, name).read_bytes()
            uids = [pydicom.dcmread(getattr(of, name)).SOPInstanceUID for of in (one, another)]
            assert len(set(uids)) == 2
        assert (one.mask() == same.mask()).all()
        assert one.questions == same.questions
    assert [one.row for one in first] != [one.row for one in other]


def test_all_uids_of_a_set_differ(findings: tuple[SimulatedFinding, ...]) -> None:
    uids = [
        pydicom.dcmread(getattr(one, name)).SOPInstanceUID
        for one in findings
        for name in (*IMAGES, *SEGMENTATIONS)
    ]
    assert len(set(uids)) == len(uids) == 75
    assert max(map(len, uids)) <= 64


def test_geometry_and_modality_of_a_given_image_are_kept(tmp_path: Path) -> None:
    elements = {
        "SOPClassUID": MRImageStorage,
        "Modality": "MR",
        "PixelSpacing": [0.7, 0.6],
        "ImageOrientationPatient": OBLIQUE,
        "ImagePositionPatient": POSITION,
    }
    source = dicom_builder.write(tmp_path / "mr.dcm", dicom_builder.image(shaded(60, 90), **elements))
    one = one_written(tmp_path / "out", source=source)
    original = pydicom.dcmread(source)
    for name in IMAGES:
        image = read_study(getattr(one, name)).images[0]
        assert (image.modality, image.pixel_spacing_mm) == ("MR", (0.7, 0.6))
        assert image.orientation == tuple(OBLIQUE)
        assert image.position == tuple(POSITION)
        written = pydicom.dcmread(getattr(one, name))
        assert written.ImageType[0] == "DERIVED"
        assert {written.SOPInstanceUID, written.StudyInstanceUID, written.SeriesInstanceUID}.isdisjoint(
            {original.SOPInstanceUID, original.StudyInstanceUID, original.SeriesInstanceUID}
        )
    plane, same, mirrored = (pydicom.dcmread(getattr(one, name)).FrameOfReferenceUID for name in IMAGES)
    assert plane == same != mirrored
    seg = highdicom.seg.segread(one.segmentation)
    geometry = seg.get_volume_geometry()
    assert geometry.position == pytest.approx(POSITION)
    assert geometry.pixel_spacing == pytest.approx((0.7, 0.6))
    assert one.origin == "given image"


@pytest.mark.parametrize("kind", KINDS)
def test_the_image_without_looks_like_the_given_one(kind: str, tmp_path: Path) -> None:
    source = dicom_builder.write(
        tmp_path / "in" / "film.dcm",
        dicom_builder.image(
            shaded(64, 96), Modality="CR", PhotometricInterpretation="MONOCHROME1", RescaleSlope=None
        ),
    )
    one = one_written(tmp_path / "out", source=source, kind=kind)
    given, written = (read_study(path).images[0].pixels for path in (source, one.image_without))
    assert np.abs(given - written).max() <= 0.5 / 4095 + 1e-6


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(32, 150),
    columns=st.integers(32, 150),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 99),
)
def test_a_round_trip_keeps_the_truth_at_any_shape(
    rows: int, columns: int, kind: str, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("shapes")
    source = dicom_builder.write(place / "in.dcm", dicom_builder.image(shaded(rows, columns), Modality="MR"))
    one_written(place / "out", source=source, kind=kind, seed=seed)
    (one,) = read_findings(place / "out")
    assert (one.rows, one.columns) == (rows, columns)
    assert (one.mask() == (pixels_of(one.image) != pixels_of(one.image_without))).all()
    assert (one.mask(mirrored=True) == one.mask()[:, ::-1]).all()
    assert one.mask().any()


def test_pictures_and_colour_are_taken_too(tmp_path: Path) -> None:
    grey = (shaded(50, 70) / 8).astype(np.uint8)
    PillowImage.fromarray(grey).save(tmp_path / "a.png")
    PillowImage.fromarray(np.stack([grey, grey, grey // 2], axis=2)).save(tmp_path / "b.jpg")
    findings = write_findings(tmp_path / "out", sources=[tmp_path / "a.png", tmp_path / "b.jpg"])
    assert [one.modality for one in findings] == ["OT", "OT"]
    png, jpeg = (pydicom.dcmread(one.image) for one in findings)
    assert png.SamplesPerPixel == jpeg.SamplesPerPixel == 1
    assert (png.get("LossyImageCompression"), jpeg.get("LossyImageCompression")) == (None, "01")
    assert findings[1].mask().any()


def test_nothing_that_a_source_says_of_anybody_survives(tmp_path: Path) -> None:
    source = dicom_builder.write(
        tmp_path / HEADER_CANARY / f"{HEADER_CANARY}.dcm",
        planted(shaded(48, 40), Modality=HEADER_CANARY, BurnedInAnnotation="YES"),
    )
    assert HEADER_CANARY.encode() in source.read_bytes()
    write_findings(tmp_path / "out", sources=[source.parent], kinds=KINDS, count=2)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) == 12
    for path in files:
        content = path.read_bytes()
        assert HEADER_CANARY.encode() not in content
        assert DATE_CANARY.encode() not in content
        assert HEADER_CANARY not in str(path.relative_to(tmp_path))
    for one in read_findings(tmp_path / "out"):
        written = pydicom.dcmread(one.image)
        assert str(written.PatientName) == "SIMULATED^"
        assert written.PatientID.startswith("SIMULATED")
        assert written.Modality == "OT"
        # What may be burned into the source's pixels is in these pixels as well.
        assert written.BurnedInAnnotation == "YES"


def test_a_folder_is_searched_and_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    place = tmp_path / "in"
    for number in (1, 2):
        dicom_builder.write(
            place / f"{number}.dcm",
            dicom_builder.image(shaded(48, 40), number=number, StudyInstanceUID=f"1.2.{number}"),
        )
    dicom_builder.write(place / "blank.dcm", dicom_builder.image(np.zeros((48, 40), np.int16), number=3))
    (place / "notes.txt").write_text("no image")
    skipped: list[MedvqaError] = []
    findings = write_findings(tmp_path / "one-each", sources=[place], on_skipped=skipped.append)
    assert len(findings) == 2
    assert [type(error) for error in skipped] == [GateError, DicomError]
    findings = write_findings(tmp_path / "more", sources=[place], kinds=["nodule", "line"], count=4)
    first, second = (pixels_of(findings[0].image_without), pixels_of(findings[2].image_without))
    assert (first == second).all()
    assert Counter(one.kind for one in findings) == {"nodule": 2, "line": 2}
    assert findings[0].kind != findings[2].kind


@pytest.mark.parametrize(
    ("content", "error", "sentence"),
    [
        (dicom_builder.image(shaded(31, 64)), GateError, "too few for a finding to be seen"),
        (dicom_builder.image(np.full((64, 64), 7, np.int16)), GateError, "looks the same"),
        (dicom_builder.image(shaded(800, 32)), GateError, "longer than 20:1"),
    ],
    ids=["tiny", "blank", "long"],
)
def test_an_image_that_cannot_hold_a_finding_is_refused(
    content: pydicom.FileDataset, error: type[Exception], sentence: str, tmp_path: Path
) -> None:
    source = dicom_builder.write(tmp_path / "in.dcm", content)
    with pytest.raises(error, match=sentence):
        write_findings(tmp_path / "out", sources=[source])
    with pytest.raises(DicomError, match="no file that was given holds an image"):
        write_findings(tmp_path / "out", sources=[tmp_path], on_skipped=lambda _: None)


def test_a_table_that_is_missing_or_broken_is_said_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DicomError, match=r"findings\.jsonl cannot be read"):
        read_findings(tmp_path)
    line = (folder / "findings.jsonl").read_text().splitlines()[0]
    for broken in ("{", "[]", json.dumps({**json.loads(line), "questions": [{}]}), '{"kind": "nodule"}'):
        (tmp_path / "findings.jsonl").write_text(broken)
        with pytest.raises(DicomError, match="is no table of findings"):
            read_findings(tmp_path)
    (tmp_path / "findings.jsonl").write_text(line)
    with pytest.raises(DicomError, match=r"names with\.dcm, which is missing"):
        read_findings(tmp_path)


def test_the_command_counts_what_it_skipped(tmp_path: Path) -> None:
    dicom_builder.write(tmp_path / "in" / "good.dcm", dicom_builder.image(shaded(48, 40)))
    for number in range(5):
        (tmp_path / "in" / f"{number}.txt").write_text("no image")
    ended = CliRunner().invoke(
        app, ["simulate", "--out", str(tmp_path / "out"), "--from", str(tmp_path / "in")]
    )
    assert ended.exit_code == 0, ended.output
    assert "skipped 5 files, the first because 0.txt is not a DICOM file" in ended.output
    assert "1 simulated findings are in" in ended.output


def test_the_command_writes_what_the_reader_reads(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--kind", "marker", "--kind", "line", "--count", "2", "--seed", "5"]
    ended = CliRunner().invoke(app, ["simulate", "--out", str(out), *options])
    assert ended.exit_code == 0, ended.output
    assert "2 simulated findings" in ended.output
    assert [(one.kind, one.seed) for one in read_findings(out)] == [("marker", 5), ("line", 5)]
    again = CliRunner().invoke(app, ["simulate", "--out", str(out), *options])
    assert again.exit_code == 2
    assert "holds findings already" in " ".join(again.output.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--out", "{place}/file/below"], "cannot be written to"),
        (["--out", "{place}/out", "--kind", "tumour"], "is not one of nodule, opacity, mass, line, marker"),
        (["--out", "{place}/out", "--from", "{place}/file"], "is not a DICOM file"),
        (["--out", "{place}/out", "--from", "{place}/nowhere"], "does not exist"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no image")
    filled = [argument.format(place=tmp_path) for argument in arguments]
    ended = CliRunner().invoke(app, ["simulate", *filled])
    if isinstance(ended.exception, SystemExit):
        assert ended.exit_code == 2
        assert sentence in " ".join(ended.output.replace("│", " ").split())
    else:
        # `main` prints it as one sentence: see test_cli_ask.
        assert isinstance(ended.exception, DicomError)
        assert sentence in str(ended.exception)


def test_a_question_can_be_asked_about_each_file(
    findings: tuple[SimulatedFinding, ...], default_model: HuggingFaceModel, tmp_path: Path
) -> None:
    one = findings[0]
    assert one.kind == "nodule"
    with Log(f"sqlite:///{tmp_path / 'audit.sqlite'}") as log:
        assistant = Assistant(default_model, audit=log, key_folder=tmp_path / "keys")
        for name in IMAGES:
            answer = assistant.ask(assistant.open_study(getattr(one, name)), one.questions[1].question)
            assert answer.text
            assert answer.warnings == ()
