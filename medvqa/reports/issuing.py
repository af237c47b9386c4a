"""Issuing a report: written as a file of one form, and recorded before it leaves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

from medvqa import records
from medvqa.reports.html import write_html
from medvqa.reports.pdf import write_pdf

if TYPE_CHECKING:
    from medvqa.reports.report import Report
    from medvqa.sessions import Session

Form: TypeAlias = Literal["html", "pdf"]

FORMS: Mapping[Form, Callable[[Report], bytes]] = MappingProxyType({"html": write_html, "pdf": write_pdf})
"""How each form is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """One file of a report."""

    form: Form
    content: bytes
    sha256: str
    """Of the content; the trail has it too."""
    sequence: int
    """Number of the row that recorded it."""


def issue(session: Session, report: Report, form: Form) -> Issued:
    """Write a report, and record that before anybody gets it.

    Raises:
        RecordError: If the trail did not take the event.
    """
    content = FORMS[form](report)
    sha256 = hashlib.sha256(content).hexdigest()
    answers = [statement.story.answer_id for statement in report.statements]
    entry = records.report_study(
        session.agent,
        study=report.study_instance_uid,
        patient=report.patient,
        entity={"sha256": sha256, "answers": answers, "form": form, "status": report.status},
    )
    (event,) = records.record(session.log, entry)
    return Issued(form=form, content=content, sha256=sha256, sequence=event.sequence)
