"""The sentences of a report, the same in every form."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from medvqa.checks.verdict import MEANINGS

if TYPE_CHECKING:
    from medvqa.reading.stories import ReportStatus
    from medvqa.reports.report import Report, Statement

STATUS: Mapping[ReportStatus, str] = MappingProxyType(
    {
        "preliminary": "Preliminary: not every answer is signed",
        "final": "Final: every answer is signed",
        "amended": "Amended: something was added after signing",
    }
)
NOT_RELIED_ON = "No answer is to be relied on"
"""Stands where nothing holds."""


def head(report: Report) -> list[tuple[str, str]]:
    """What the report is about."""
    return [
        ("Patient", report.patient or "not named in the files"),
        ("Study", report.study_instance_uid),
        ("Modality", ", ".join(report.modalities)),
        ("Images", str(report.images)),
        ("Issued", f"{report.issued:%Y-%m-%d %H:%M:%S} UTC"),
        ("Audit trail", f"{report.tree.size} events, root {report.tree.root}"),
    ]


def describe_answer(statement: Statement) -> list[tuple[str, str]]:
    """What the checks say of an answer."""
    checks: Any = statement.entity["checks"]
    kind = "calibrated" if checks["confidence_calibrated"] else "uncalibrated"
    lines = [
        ("Checks", f"{checks['verdict'].replace('_', ' ')}: {MEANINGS[checks['verdict']]}"),
        ("Confidence", f"{checks['confidence']:.2f}, {kind}"),
        ("Image reliance", f"{checks['image_reliance']:+.2f} nats against an empty picture"),
    ]
    warnings: Any = statement.entity["warnings"]
    if warnings:
        lines.append(("Warnings", ", ".join(code.replace("_", " ") for code in warnings)))
    return lines


def describe_people(statement: Statement) -> list[tuple[str, str]]:
    """What people made of an answer, in the order in which it was recorded; with what each signature means.

    Reference: 21 CFR 11.50.
    """
    story = statement.story
    lines: list[tuple[str, str]] = []
    for review in story.reviews:
        text = f": {review.entity['text']}" if review.entity["text"] else ""
        lines.append((f"{review.verdict}, {review.recorded:%Y-%m-%d}", f"{review.entity['reviewer']}{text}"))
    for signature in story.signatures:
        who, meaning = signature.entity["signer"], signature.entity["meaning"]
        lines.append(("Signed", f"{who}, {signature.recorded:%Y-%m-%d %H:%M:%S} UTC: {meaning}"))
    for addendum in story.addenda:
        when = f"Addendum, {addendum.recorded:%Y-%m-%d}"
        lines.append((when, f"{addendum.agent}: {addendum.entity['text']}"))
    return lines or [("Review", "nobody reviewed this answer")]


def describe_source(statement: Statement) -> str:
    """What answered, and where the answer is recorded."""
    model: Any = statement.entity["model"]
    adapter = f", adapter {model['adapter_sha256'][:12]}" if model["adapter_sha256"] else ""
    return (
        f"{model['name']}, weights {model['weights_sha256'][:12]}{adapter}; audit row"
        f" {statement.story.answered.sequence}, answer {statement.story.answer_id}"
    )
