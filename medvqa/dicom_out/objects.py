"""Answers about a study as DICOM objects that belong to it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from audit.log import read_root
from audit.types import TreeHead
from medvqa.dicom_out.encapsulated_pdf import encapsulated_pdf
from medvqa.dicom_out.parametric_map import parametric_map
from medvqa.dicom_out.provenance import Origin
from medvqa.dicom_out.regions import read_results, region_of_heatmap
from medvqa.dicom_out.secondary_capture import secondary_capture
from medvqa.dicom_out.segmentation import segmentation
from medvqa.dicom_out.sources import describe_source, read_headers
from medvqa.dicom_out.structured_report import report_answer, report_regions
from medvqa.errors import DicomError
from medvqa.reading.places import find_images
from medvqa.reading.stories import Story
from medvqa.records import heatmap_sha256
from medvqa.reports import document_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from pydicom.dataset import Dataset

    from audit import JSON, Event
    from medvqa.dicom_out.regions import Region
    from medvqa.dicom_out.sources import SourceImage
    from medvqa.reports import Document, Report, Statement
    from medvqa.sessions import Session
    from medvqa.tasks.results import Masks
    from medvqa.types import Study

Form: TypeAlias = Literal["sr", "map", "capture", "seg", "pdf"]
FORMS: tuple[Form, ...] = get_args(Form)


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomObject:
    """One object, ready to be stored; making it recorded nothing."""

    form: Form
    dataset: Dataset
    """With its File Meta Information."""
    answer_id: str | None
    """Of the answer, or of a task's result; None for the report of all answers."""

    @property
    def sop_instance_uid(self) -> str:
        """The same for the same content, so that storing it twice is storing it once."""
        return str(self.dataset.SOPInstanceUID)

    def to_bytes(self) -> bytes:
        """As a file (PS3.10)."""
        out = BytesIO()
        self.dataset.save_as(out, enforce_file_format=True)
        return out.getvalue()


def describe_objects(objects: Sequence[DicomObject]) -> list[dict[str, JSON]]:
    """Which objects are about to leave, for the trail; the digests are of their files."""
    return [
        {
            "form": one.form,
            "sop_instance_uid": one.sop_instance_uid,
            "answer": one.answer_id,
            "sha256": hashlib.sha256(one.to_bytes()).hexdigest(),
        }
        for one in objects
    ]


def make_objects(
    session: Session,
    path_of_the_study: Path,
    study: Study,
    report: Report | None,
    *,
    forms: Collection[Form] = FORMS,
    masks: Mapping[str, Masks] | None = None,
) -> tuple[DicomObject, ...]:
    """Make the objects of what a report says about a study, and of what tasks found in it.

    Of an answer that does not hold there is no map, capture or SEG, and its SR says that it does not. Answers
    about images that the study no longer has are in the PDF alone. A frame without a plane in the patient
    has no map, since that class demands one, but a capture.

    Args:
        session: At the trail that the report is from.
        path_of_the_study: Where it was read from: patient and study are copied from there.
        study: As it was read.
        report: About it, with the heatmaps that are to be shown; None where nothing was asked.
        forms: Which forms are wanted.
        masks: Outlines that tasks drew, by id of their result: the trail keeps their digests alone.

    Returns:
        Objects in the order of `FORMS`, those of one form in the order of answers and results.

    Raises:
        DicomError: If the study is not of DICOM files, or has none of the images asked about any more.
        TaskError: If a mask is not the one that was recorded.
        AuditError: If the trail cannot be read.
    """
    results = read_results(session.log, study.study_instance_uid, masks or {})
    statements = () if report is None else report.statements
    told = [*(one.story for one in statements), *(Story(answered=event) for event, _ in results)]
    places = find_images(study, told)
    if not places:
        raise DicomError(
            "the trail holds no answer about an image of this study, nor boxes, so no result could refer to "
            "anything; ask first, give the outlines that a task wrote, or name the study as it was then"
        )
    sources = _read_sources(path_of_the_study, study, places)
    made: list[DicomObject] = []
    document = None if report is None else document_of(_settled(session, report))
    for statement in statements:
        if document is not None and statement.story.answer_id in sources:
            source = sources[statement.story.answer_id]
            made.extend(_of_answer(statement, document, source, forms))
    for event, regions in results:
        if event.subject in sources:
            made.extend(_of_result(event, regions, sources[event.subject], forms))
    if document is not None and "pdf" in forms:
        made.append(_of_report(document, statements, tuple(sources.values())))
    return tuple(sorted(made, key=lambda one: FORMS.index(one.form)))


def _read_sources(path: Path, study: Study, places: Mapping[str, int]) -> dict[str, SourceImage]:
    """By id of the answer or result; an image is described once."""
    images = {place: study.images[place] for place in sorted(set(places.values()))}
    headers = read_headers(path, {image.ref.sop_instance_uid for image in images.values()})
    described = {
        place: describe_source(headers[image.ref.sop_instance_uid], image) for place, image in images.items()
    }
    return {subject: described[place] for subject, place in places.items()}


def _of_answer(
    statement: Statement, document: Document, source: SourceImage, forms: Collection[Form]
) -> Iterator[DicomObject]:
    heatmap = None if statement.struck is not None else statement.heatmap
    region = None if heatmap is None else region_of_heatmap(heatmap)
    answer_id, question = statement.story.answer_id, statement.story.question

    def origin(form: Form) -> Origin:
        return Origin(form=form, subject=answer_id, events=_told(statement), pins=_pins(statement))

    if "sr" in forms:
        yield _made("sr", report_answer(statement, document, region, origin("sr"), source), answer_id)
    if heatmap is None or statement.image is None:
        return
    if "map" in forms and source.has_plane:
        yield _made("map", parametric_map(heatmap, question, origin("map"), source), answer_id)
    if "capture" in forms:
        capture = secondary_capture(statement.image, heatmap, question, origin("capture"), source)
        yield _made("capture", capture, answer_id)
    if "seg" in forms and region is not None:
        yield _made("seg", segmentation([region], origin("seg"), source), answer_id)


def _of_result(
    event: Event, regions: tuple[Region, ...], source: SourceImage, forms: Collection[Form]
) -> Iterator[DicomObject]:
    def origin(form: Form) -> Origin:
        return Origin(form=form, subject=event.subject, events=(event,))

    if "sr" in forms:
        yield _made("sr", report_regions(regions, origin("sr"), source), event.subject)
    if "seg" in forms:
        yield _made("seg", segmentation(regions, origin("seg"), source), event.subject)


def _of_report(
    document: Document, statements: Sequence[Statement], sources: tuple[SourceImage, ...]
) -> DicomObject:
    origin = Origin(
        form="pdf",
        subject=document.study.study_instance_uid,
        events=tuple(event for statement in statements for event in _told(statement)),
        pins=tuple(pin for statement in statements for pin in _pins(statement)),
    )
    return _made("pdf", encapsulated_pdf(document, origin, sources), None)


def _made(form: Form, dataset: Dataset, answer_id: str | None) -> DicomObject:
    return DicomObject(form=form, dataset=dataset, answer_id=answer_id)


def _told(statement: Statement) -> tuple[Event, ...]:
    """The events of which a report speaks."""
    story = statement.story
    return (story.answered, *story.reviews, *story.signatures, *story.addenda)


def _pins(statement: Statement) -> tuple[str, ...]:
    return () if statement.heatmap is None else (heatmap_sha256(statement.heatmap),)


def _settled(session: Session, report: Report) -> Report:
    """The report as of the last event in it, so that the same answers give the same document."""
    events = [event for statement in report.statements for event in _told(statement)]
    size = max(event.sequence for event in events)
    with session.log.reading() as connection:
        root = read_root(connection, size).hex()
    return replace(
        report, issued=max(event.recorded for event in events), tree=TreeHead(size=size, root=root)
    )
