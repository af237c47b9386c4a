"""Issuing a report: written as a file of one form, and recorded before it leaves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from medvqa import records
from medvqa.errors import TemplateError
from medvqa.reports.documenting import document_of
from medvqa.reports.fhir import write_fhir
from medvqa.reports.html import write_html
from medvqa.reports.pdf import write_pdf
from medvqa.reports.templates import shipped_template
from medvqa.types import ReportForm

if TYPE_CHECKING:
    from pathlib import Path

    from medvqa.reports.document import Document
    from medvqa.reports.report import Report
    from medvqa.reports.templates import Template
    from medvqa.sessions import Session

Form: TypeAlias = ReportForm


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """What a form is as a file."""

    suffix: str
    """By which a file name asks for it."""
    media_type: str
    write: Callable[[Document, Template], bytes]
    """HTML alone looks at the template."""


FORMS: Mapping[Form, FileKind] = MappingProxyType(
    {
        "html": FileKind(suffix=".html", media_type="text/html", write=write_html),
        "pdf": FileKind(
            suffix=".pdf", media_type="application/pdf", write=lambda document, _: write_pdf(document)
        ),
        "json": FileKind(
            suffix=".json", media_type="application/json", write=lambda document, _: write_json(document)
        ),
        "fhir-r4": FileKind(
            suffix=".fhir.json",
            media_type="application/fhir+json",
            write=lambda document, _: write_fhir(document, "R4"),
        ),
        "fhir-r5": FileKind(
            suffix=".fhir-r5.json",
            media_type="application/fhir+json",
            write=lambda document, _: write_fhir(document, "R5"),
        ),
    }
)
"""Every form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """One file of a report."""

    form: Form
    content: bytes
    sha256: str
    """Of the content; the trail has it too."""
    sequence: int
    """Number of the row that recorded it."""


def form_of(path: Path) -> Form | None:
    """The form that a file's name asks for; of several endings that fit, the longest."""
    name = path.name.lower()
    fitting: list[Form] = [form for form, kind in FORMS.items() if name.endswith(kind.suffix)]
    return max(fitting, key=lambda form: len(FORMS[form].suffix)) if fitting else None


def issue(session: Session, report: Report, form: Form, *, template: Template | None = None) -> Issued:
    """Write a report, and record that before anybody gets it.

    Args:
        session: Who issues it.
        report: From `compose`.
        form: Of the file.
        template: By which HTML is written; None for the shipped one. The other forms have none.

    Raises:
        TemplateError: If the template fails on this report, or there is one for a form other than HTML.
        RecordError: If the trail did not take the event.
    """
    if template is not None and form != "html":
        raise TemplateError(f"a template writes .html reports, not {FORMS[form].suffix}; leave it out")
    return issue_all(session, report, [form], template=template)[0]


def issue_all(
    session: Session, report: Report, forms: Sequence[Form], *, template: Template | None = None
) -> list[Issued]:
    """The same in several forms, recorded together; of these HTML alone looks at the template.

    Raises:
        TemplateError, RecordError: As for `issue`.
    """
    document, layout = document_of(report), template or shipped_template()
    contents = {form: FORMS[form].write(document, layout) for form in forms}
    digests = {form: hashlib.sha256(content).hexdigest() for form, content in contents.items()}
    answers = [statement.story.answer_id for statement in report.statements]
    entries = [
        records.report_study(
            session.agent,
            study=report.study_instance_uid,
            patient=report.patient,
            entity={
                "sha256": digests[form],
                "answers": answers,
                "form": form,
                "status": report.status,
                "template": None if template is None or form != "html" else template.sha256,
            },
        )
        for form in forms
    ]
    return [
        Issued(form=form, content=contents[form], sha256=digests[form], sequence=event.sequence)
        for form, event in zip(forms, records.record(session.log, *entries), strict=True)
    ]


def write_json(document: Document) -> bytes:
    """The document as JSON in UTF-8."""
    return document.model_dump_json(indent=2).encode() + b"\n"
