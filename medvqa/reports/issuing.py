"""Issuing a report: written as a file of one form, and recorded before it leaves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

from medvqa import records
from medvqa.errors import TemplateError
from medvqa.reports.documenting import document_of
from medvqa.reports.fhir import write_fhir
from medvqa.reports.html import write_html
from medvqa.reports.pdf import write_pdf
from medvqa.reports.templates import shipped_template

if TYPE_CHECKING:
    from pathlib import Path

    from medvqa.reports.document import Document
    from medvqa.reports.report import Report
    from medvqa.reports.templates import Template
    from medvqa.sessions import Session

Form: TypeAlias = Literal["html", "pdf", "json", "fhir-r4", "fhir-r5"]


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
    content = FORMS[form].write(document_of(report), template or shipped_template())
    sha256 = hashlib.sha256(content).hexdigest()
    answers = [statement.story.answer_id for statement in report.statements]
    entry = records.report_study(
        session.agent,
        study=report.study_instance_uid,
        patient=report.patient,
        entity={
            "sha256": sha256,
            "answers": answers,
            "form": form,
            "status": report.status,
            "template": None if template is None else template.sha256,
        },
    )
    (event,) = records.record(session.log, entry)
    return Issued(form=form, content=content, sha256=sha256, sequence=event.sequence)


def write_json(document: Document) -> bytes:
    """The document as JSON in UTF-8."""
    return document.model_dump_json(indent=2).encode() + b"\n"
