"""What a PACS is given: whose it is, what it refers to, what is said and what is not."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from dicom_builder import enhanced, image, item, write
from dicom_validity import require_consistent, require_valid
from PIL import Image as PillowImage
from pydicom import DataElement, Dataset, dcmread
from pydicom.config import IGNORE
from pydicom.sr.codedict import codes
from pypdf import PdfReader
from reported import answer
from tiny_models import IDENTITY

from audit import Log
from medvqa.dicom_out import DicomObject, coding, make_objects
from medvqa.errors import DicomError, TaskError
from medvqa.reading.reviews import review
from medvqa.reading.signatures import add_addendum, sign
from medvqa.records import Agent, record
from medvqa.reports import compose
from medvqa.sessions import Session, begin_session
from medvqa.study import read_study
from medvqa.tasks import recording
from medvqa.tasks.recording import Came, Ordered
from medvqa.tasks.results import Box, Boxes, Mask, Masks
from medvqa.types import Curves, Heatmap, HeatmapGrade, HeatmapLevel, Image, Study

FLAT = Curves(deletion=(0.5, 0.5), insertion=(0.5, 0.5))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A study of three slices, whose patient has a name that programs find odd."""
    rng = np.random.default_rng(1)
    for number in (1, 2, 3):
        stored = rng.integers(0, 2000, (40, 56)).astype(np.int16)
        slice_ = image(
            stored,
            number=number,
            PatientName="Doe",
            PatientID="4711",
            PatientBirthDate="19010203",
            PatientSex="F",
            StudyDate="20200101",
            StudyTime="",
            StudyID="1",
            AccessionNumber="A1",
            ReferringPhysicianName="",
            InstitutionName="St. Elsewhere",
            Manufacturer="scanner",
            FrameOfReferenceUID="1.2.826.0.1.3680043.10.9",
            PixelSpacing=[0.5, 0.75],
        )
        write(tmp_path / "study" / f"{number}.dcm", slice_)
    return tmp_path / "study"


@pytest.fixture
def study(path: Path) -> Study:
    return read_study(path)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Log(f"sqlite:///{tmp_path / 'trail.sqlite'}") as log:
        yield begin_session(log, Agent(name="dr-17"), key_folder=tmp_path / "keys")


def hot(shown: Image, row: int, column: int, *, level: HeatmapLevel = "good") -> Heatmap:
    """A map of one warm square of four pixels, its corner at a row and column."""
    values = np.zeros(shown.shape, dtype=np.float32)
    values[row : row + 2, column : column + 2] = 0.75
    values[row, column] = 1
    grade = HeatmapGrade(
        level=level,
        reason=f"It is {level}.",
        fractions=(0.0, 1.0),
        curves=FLAT,
        random=FLAT,
        edges=FLAT,
        beaten=1.0,
        infidelity=None,
        randomisation=None,
    )
    return Heatmap(
        method="occlusion",
        values=values,
        grid=(8, 8),
        explained="log p(answer)",
        grade=grade,
        draw=lambda _: None,
    )


def objects(
    session: Session, path: Path, heatmaps: dict[str, Heatmap] | None = None, **options: Any
) -> list[DicomObject]:
    study = read_study(path)
    report = compose(session, study, heatmaps=heatmaps)
    return list(make_objects(session, path, study, report, **options))


def texts(document: Dataset) -> dict[str, list[str]]:
    """Of the text items anywhere in a Structured Report, by code value."""
    found: dict[str, list[str]] = {}

    def collect(_: Dataset, element: Any) -> None:
        if element.keyword == "ContentSequence":
            for one in element.value:
                if one.ValueType == "TEXT":
                    found.setdefault(one.ConceptNameCodeSequence[0].CodeValue, []).append(one.TextValue)

    document.walk(collect)
    return found


def reread(one: DicomObject) -> Dataset:
    return dcmread(io.BytesIO(one.to_bytes()))


def test_each_form_joins_the_study_and_is_valid(session: Session, path: Path, tmp_path: Path) -> None:
    study = read_study(path)
    before = {file: file.read_bytes() for file in path.iterdir()}
    answer_id = answer(session, study, "yes")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        made = objects(session, path, {answer_id: hot(study.images[1], 10, 20)})
    assert not [one for one in warned if "Doe" in str(one.message)]
    assert [one.form for one in made] == ["sr", "map", "capture", "seg", "pdf"]
    source = dcmread(path / "2.dcm")
    files = [path / "2.dcm"]
    for one in made:
        files.append(tmp_path / f"{one.form}.dcm")
        files[-1].write_bytes(one.to_bytes())
        require_valid(files[-1])
        written = reread(one)
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate"):
            assert written[keyword].value == source[keyword].value
        assert written.StudyInstanceUID == source.StudyInstanceUID
        assert written.SeriesInstanceUID != source.SeriesInstanceUID
        assert (written.Manufacturer, written.ManufacturerModelName) == ("medvqa", IDENTITY.name)
        assert source.SOPInstanceUID in str(written)
    require_consistent(files)
    assert before == {file: file.read_bytes() for file in path.iterdir()}
    assert len({one.dataset.SeriesInstanceUID for one in made}) == 5


def test_values_that_programs_find_odd_are_quoted_nowhere(session: Session, path: Path) -> None:
    for file in path.iterdir():
        odd = dcmread(file)
        odd["PatientBirthDate"] = DataElement("PatientBirthDate", "DA", "CANARY", validation_mode=IGNORE)
        odd.save_as(file)
    answer(session, read_study(path), "yes")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        made = objects(session, path, forms=["sr", "pdf"])
        assert reread(made[0]).get_item("PatientBirthDate").value == b"CANARY"
    assert not [one for one in warned if "CANARY" in str(one.message)]


def test_results_beside_their_study_are_no_images_of_it(session: Session, path: Path) -> None:
    study = read_study(path)
    answer_id = answer(session, study, "yes")
    for one in objects(session, path, {answer_id: hot(study.images[1], 10, 20)}):
        (path / f"{one.form}.dcm").write_bytes(one.to_bytes())
    again = read_study(path)
    assert [frame.ref for frame in again.frames] == [frame.ref for frame in study.frames]


def test_a_report_says_what_was_asked_and_how_far_it_holds(session: Session, path: Path) -> None:
    answer_id = answer(session, read_study(path), "yes", question="Gibt es eine Läsion? 肿块")
    (made,) = objects(session, path, forms=["sr"])
    document = hd.sr.srread(io.BytesIO(made.to_bytes()))
    assert made.answer_id == answer_id
    assert (document.VerificationFlag, document.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert "VerifyingObserverSequence" not in document
    said = texts(document)
    assert said["QUESTION"] == ["Gibt es eine Läsion? 肿块"]
    assert said["ANSWER"] == ["yes"]
    assert said["LIMITATION"] == ["Research software: not for diagnostic use."]
    assert {"AMENDED", "NOT-RELIED-ON"}.isdisjoint(said)
    (group,) = document.content.get_image_measurement_groups()
    assert group.source_images[0].referenced_sop_instance_uid == dcmread(path / "2.dcm").SOPInstanceUID
    (confidence,) = group.get_measurements()
    assert (confidence.name, confidence.value) == (coding.UNCALIBRATED, 0.5)
    assert group.get_qualitative_evaluations(coding.VERDICT)[0].value == coding.VERDICTS["grounded"]
    assert f"weights_sha256={'2' * 64}" in said["111002"]
    assert codes.DCM.ArtificialIntelligence.value in str(document)


def test_only_a_signature_verifies_and_an_amended_text_takes_the_models_place(
    session: Session, path: Path
) -> None:
    answer_id = answer(session, read_study(path), "yes")
    review(session, answer_id, verdict="amend", text="no mass", reviewer="dr-18")
    (amended,) = objects(session, path, forms=["sr"])
    assert reread(amended).VerificationFlag == "UNVERIFIED"
    signed_by = sign(session, answer_id, meaning="reviewed and approved", signer="dr-18")
    (signed,) = objects(session, path, forms=["sr"])
    written = reread(signed)
    assert (written.VerificationFlag, written.PreliminaryFlag) == ("VERIFIED", "FINAL")
    (observer,) = written.VerifyingObserverSequence
    assert observer.VerifyingObserverName == "dr-18^"
    assert observer.VerifyingOrganization == "St. Elsewhere"
    assert observer.VerificationDateTime.startswith(f"{signed_by.recorded:%Y%m%d%H%M%S}")
    said = texts(written)
    assert said["AMENDED"] == ["no mass"]
    assert "ANSWER" not in said
    assert said["NOT-RELIED-ON"] == ["Not relied on. The model said: yes"]
    add_addendum(session, answer_id, text="seen on the lateral view too")
    (added,) = objects(session, path, forms=["sr"])
    assert any("lateral view" in one for one in texts(reread(added))["PERSON"])


@pytest.mark.parametrize("how", ["rejected", "unsure", "abstains"])
def test_what_does_not_hold_is_no_answer_and_has_no_pictures(session: Session, path: Path, how: str) -> None:
    study = read_study(path)
    verdict = "unsure" if how == "unsure" else "grounded"
    answer_id = answer(session, study, "yes", verdict=verdict, abstains=how == "abstains")
    if how == "rejected":
        review(session, answer_id, verdict="reject", text="an artefact")
    made = objects(session, path, {answer_id: hot(study.images[1], 10, 20)})
    assert [one.form for one in made] == ["sr", "pdf"]
    said = texts(reread(made[0]))
    assert {"ANSWER", "AMENDED"}.isdisjoint(said)
    assert said["NOT-RELIED-ON"] == ["Not relied on. The model said: yes"]
    assert said["REASON"]


def test_a_map_no_better_than_chance_is_not_drawn(session: Session, path: Path) -> None:
    study = read_study(path)
    answer_id = answer(session, study, "yes")
    made = objects(session, path, {answer_id: hot(study.images[1], 10, 20, level="chance")})
    assert [one.form for one in made] == ["sr", "pdf"]


def test_the_same_answers_give_the_same_objects_and_a_review_gives_others(
    session: Session, path: Path
) -> None:
    study = read_study(path)
    answer_id = answer(session, study, "yes")
    heatmaps = {answer_id: hot(study.images[1], 10, 20)}
    first, second = objects(session, path, heatmaps), objects(session, path, heatmaps)
    assert [one.to_bytes() for one in first] == [one.to_bytes() for one in second]
    review(session, answer_id, verdict="agree")
    third = objects(session, path, heatmaps)
    for before, after in zip(first, third, strict=True):
        assert before.sop_instance_uid != after.sop_instance_uid
        assert before.dataset.SeriesInstanceUID == after.dataset.SeriesInstanceUID


def test_the_pdf_is_the_report(session: Session, path: Path) -> None:
    answer(session, read_study(path), "yes")
    (made,) = objects(session, path, forms=["pdf"])
    written = reread(made)
    content = written.EncapsulatedDocument[: written.EncapsulatedDocumentLength]
    page = PdfReader(io.BytesIO(content)).pages[0].extract_text()
    assert "not for diagnostic use" in page
    assert "Doe" not in page


def test_a_capture_keeps_the_pixels_in_place_and_says_what_they_are(session: Session, path: Path) -> None:
    study = read_study(path)
    answer_id = answer(session, study, "yes")
    (made,) = objects(session, path, {answer_id: hot(study.images[1], 10, 20)}, forms=["capture"])
    pixels = reread(made).pixel_array
    assert pixels.shape[0] > 40
    gray = pixels[:40, :56].astype(int)
    coloured = np.argwhere(np.ptp(gray, axis=-1) > 0)
    assert coloured.min(0).tolist() == [10, 20]
    assert coloured.max(0).tolist() == [11, 21]
    assert pixels[40:].max() == 255
    assert "BurnedInAnnotation" not in reread(made)


def test_one_frame_of_several_is_named_wherever_it_may_be(session: Session, tmp_path: Path) -> None:
    stored = np.random.default_rng(2).integers(0, 2000, (3, 32, 40)).astype(np.int16)
    places = [item(ImagePositionPatient=[1, 2, float(z)]) for z in (0, 5, 10)]
    several = enhanced(
        stored,
        per_frame=[{"PlanePositionSequence": place} for place in places],
        PlaneOrientationSequence=item(ImageOrientationPatient=[0.8, 0.6, 0, -0.6, 0.8, 0]),
        PixelMeasuresSequence=item(PixelSpacing=[0.7, 1.3], SliceThickness=5),
    )
    several.FrameOfReferenceUID, several.SpecificCharacterSet = "1.2.3.4", "ISO_IR 100"
    several.PatientName = "Dö^J"
    path = write(tmp_path / "several.dcm", several)
    study = read_study(path)
    answer_id = answer(session, study, "yes", place=1)
    made = objects(session, path, {answer_id: hot(study.images[1], 3, 4)})
    for one in made[:4]:
        written = reread(one)
        assert str(written.PatientName) == "Dö^J"
        assert "Enhanced CT Image Storage" in str(written)
        assert "Secondary Capture" not in str(written).partition("(0020,000D)")[2]
        if one.form in ("map", "seg"):
            frame = written.PerFrameFunctionalGroupsSequence[0]
            source = frame.DerivationImageSequence[0].SourceImageSequence[0]
            assert source.ReferencedFrameNumber == 2
            assert frame.PlanePositionSequence[0].ImagePositionPatient == [1, 2, 5]
            assert (
                "ReferencedFrameNumber"
                not in written.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]
            )
    document = hd.sr.srread(io.BytesIO(made[0].to_bytes()))
    (group,) = document.content.get_image_measurement_groups()
    assert group.source_images[0].referenced_frame_numbers == [2]


def task_done(session: Session, study: Study, content: Boxes | Masks, *, place: int = 1) -> str:
    """Record that a task found this in an image; the id of its result."""
    ordered = Ordered(
        result_id=f"result-{session.log.size()}",
        task="ground",
        text="a nodule",
        options=(),
        patient=None,
        image=study.images[place],
        prior=None,
        model=IDENTITY,
    )
    record(session.log, recording.result(session.agent, ordered, Came(content=content, warnings=())))
    return ordered.result_id


def test_boxes_of_a_task_become_segments_and_outlines(session: Session, path: Path) -> None:
    study = read_study(path)
    boxes = (
        Box(label="nodule", top=4.25, left=6, bottom=9, right=12.5, score=0.75),
        Box(label="second", top=8, left=10, bottom=20, right=30),
    )
    result_id = task_done(session, study, Boxes(rows=40, columns=56, boxes=boxes))
    report, segments = make_objects(session, path, study, None)
    assert (report.form, segments.form) == ("sr", "seg")
    assert report.answer_id == segments.answer_id == result_id
    written = hd.seg.Segmentation.from_dataset(reread(segments))
    assert [one.SegmentLabel for one in written.SegmentSequence] == ["nodule", "second"]
    bits = written.get_pixels_by_source_instance([study.images[1].ref.sop_instance_uid])[0]
    for at, box in enumerate(boxes):
        expected = np.zeros((40, 56), dtype=bool)
        expected[int(box.top) : int(np.ceil(box.bottom)), int(box.left) : int(np.ceil(box.right))] = True
        assert (bits[..., at].astype(bool) == expected).all()
    document = hd.sr.srread(io.BytesIO(report.to_bytes()))
    assert document.VerificationFlag == "UNVERIFIED"
    drawn = [group.roi for group in document.content.get_planar_roi_measurement_groups()]
    assert drawn[0].value.min(0).tolist() == [6, 4.25]
    assert drawn[0].value.max(0).tolist() == [12.5, 9]


def test_outlines_must_be_those_that_were_recorded(session: Session, path: Path) -> None:
    study = read_study(path)
    bits = np.zeros((40, 56), dtype=bool)
    bits[3:9, 4:8] = True
    right = Masks(rows=40, columns=56, masks=(Mask.of(bits, label="nodule"),))
    wrong = Masks(rows=40, columns=56, masks=(Mask.of(~bits, label="nodule"),))
    result_id = task_done(session, study, right)
    (_, segments) = make_objects(session, path, study, None, masks={result_id: right})
    written = hd.seg.Segmentation.from_dataset(reread(segments))
    assert (written.pixel_array.astype(bool) == bits).all()
    with pytest.raises(TaskError, match="not those that were recorded"):
        make_objects(session, path, study, None, masks={result_id: wrong})


def test_what_is_no_dicom_study_gets_no_objects(session: Session, tmp_path: Path, path: Path) -> None:
    picture = tmp_path / "picture.png"
    noise = np.random.default_rng(3).integers(0, 255, (40, 40)).astype(np.uint8)
    PillowImage.fromarray(noise).save(picture)
    study = read_study(picture)
    answer(session, study, "yes", place=0)
    with pytest.raises(DicomError, match="PNG or JPEG"):
        objects(session, picture)
    with pytest.raises(DicomError, match="ask first"):
        make_objects(session, path, read_study(path), None)
