"""Answers about a study as DICOM objects that belong to it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from audit.log import read_root
from audit.types import TreeHead
from medvqa.dicom_out.encapsulated_pdf import encapsulated_pdf
from medvqa.dicom_out.provenance import Origin
from medvqa.dicom_out.sources import describe_source, read_headers
from medvqa.dicom_out.structured_report import structured_report
from medvqa.errors import DicomError
from medvqa.records import heatmap_sha256

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from pydicom.dataset import Dataset

    from audit import Event
    from medvqa.dicom_out.sources import SourceImage
    from medvqa.reports import Report, Statement
    from medvqa.sessions import Session
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


def make_objects(
    session: Session,
    path_of_the_study: Path,
    study: Study,  # noqa: ARG001
    report: Report,
    *,
    forms: Collection[Form] = FORMS,
) -> tuple[DicomObject, ...]:
    """Make the objects of what a report says about a study.

    Answers about images that the study no longer has are in the PDF alone.

    Args:
        session: At the trail that the report is from.
        path_of_the_study: Where it was read from: patient and study are copied from there.
        study: As it was read.
        report: About it, with the heatmaps that are to be shown.
        forms: Which forms are wanted.

    Returns:
        Objects in the order of `FORMS`, those of one form in the order of the answers.

    Raises:
        DicomError: If the study is not of DICOM files, or has none of the images asked about any more.
        AuditError: If the trail cannot be read.
    """
    shown = {
        statement.story.answer_id: statement.image
        for statement in report.statements
        if statement.image is not None
    }
    if not shown:
        raise DicomError(
            "the study has none of the images that were asked about, so there is nothing that a result could "
            "refer to; name the study as it was when it was asked about"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom and highdicom quote values, which may be a patient's
        headers = read_headers(path_of_the_study, (image.ref.sop_instance_uid for image in shown.values()))
        sources = {
            answer_id: describe_source(headers[image.ref.sop_instance_uid], image)
            for answer_id, image in shown.items()
        }
        made = [*_of_answers(report, sources, forms)]
        if "pdf" in forms:
            made.append(_of_report(session, report, tuple(sources.values())))
    return tuple(sorted(made, key=lambda one: FORMS.index(one.form)))


def _of_answers(
    report: Report, sources: dict[str, SourceImage], forms: Collection[Form]
) -> Iterator[DicomObject]:
    for statement in report.statements:
        answer_id = statement.story.answer_id
        source = sources.get(answer_id)
        if source is None:
            continue
        if "sr" in forms:
            origin = _origin("sr", statement)
            dataset = structured_report(statement, origin, source)
            yield DicomObject(form="sr", dataset=dataset, answer_id=answer_id)


def _of_report(session: Session, report: Report, sources: tuple[SourceImage, ...]) -> DicomObject:
    events = tuple(event for statement in report.statements for event in _told(statement))
    pins = tuple(pin for statement in report.statements for pin in _pins(statement))
    origin = Origin(form="pdf", subject=report.study_instance_uid, events=events, pins=pins)
    dataset = encapsulated_pdf(_settled(session, report, origin), origin, sources)
    return DicomObject(form="pdf", dataset=dataset, answer_id=None)


def _origin(form: Form, statement: Statement) -> Origin:
    return Origin(
        form=form, subject=statement.story.answer_id, events=_told(statement), pins=_pins(statement)
    )


def _told(statement: Statement) -> tuple[Event, ...]:
    """The events of which a report speaks."""
    story = statement.story
    return (story.answered, *story.reviews, *story.signatures, *story.addenda)


def _pins(statement: Statement) -> tuple[str, ...]:
    return () if statement.heatmap is None else (heatmap_sha256(statement.heatmap),)


def _settled(session: Session, report: Report, origin: Origin) -> Report:
    """The report as of the last event in it, so that the same answers give the same document."""
    size = max(event.sequence for event in origin.events)
    with session.log.reading() as connection:
        root = read_root(connection, size).hex()
    return replace(report, issued=origin.made, tree=TreeHead(size=size, root=root))
