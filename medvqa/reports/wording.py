"""The sentences of a report, the same in every form that is read by people."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medvqa.reading.stories import ReportStatus
    from medvqa.reports.document import Asked, Document, HeatmapPart, ModelPart

STATUS: Mapping[ReportStatus, str] = MappingProxyType(
    {
        "preliminary": "Preliminary: not every answer is signed",
        "final": "Final: every answer is signed",
        "amended": "Amended: something was added after signing",
    }
)
NOT_RELIED_ON = "No answer is to be relied on."
"""Stands where nothing holds."""
STRUCK_OUT = "Struck out, the model said:"
"""Stands before what does not hold, for whoever reads or copies the words without their line."""


def head(document: Document) -> list[tuple[str, str]]:
    """What the report is about."""
    return [
        ("Patient", document.patient or "not named in the files"),
        ("Study", document.study.study_instance_uid),
        ("Modality", ", ".join(document.study.modalities)),
        ("Images", str(document.study.images)),
        ("Issued", f"{document.issued:%Y-%m-%d %H:%M:%S} UTC"),
    ]


def provenance(document: Document) -> list[tuple[str, str]]:
    """What answered, and the state of the audit trail that the report was read from."""
    return [
        *(("Model", _describe_model(model)) for model in document.models),
        ("Audit trail", f"{document.tree.size} events, root {document.tree.root}"),
    ]


def describe_checks(asked: Asked) -> list[tuple[str, str]]:
    """What the checks say of an answer, and what became of its heatmap."""
    checks = asked.checks
    kind = "calibrated" if checks.confidence_calibrated else "uncalibrated"
    abstains = "; the model says that it cannot tell" if checks.abstains else ""
    lines = [
        ("Checks", f"{checks.verdict.replace('_', ' ')}: {checks.meaning}"),
        ("Confidence", f"{checks.confidence:.2f}, {kind}{abstains}"),
        ("Image reliance", f"{_nats(checks.image_reliance)} against an empty picture"),
    ]
    if checks.image_effect is not None:
        lines.append(("Other pictures", f"{_nats(checks.image_effect)} against the worst of them"))
    if checks.wording_effect is not None:
        lines.append(("Other wordings", f"{_nats(checks.wording_effect)} against the worst of them"))
    if asked.heatmap is not None:
        lines.append(("Heatmap", _describe_heatmap(asked.heatmap)))
    if asked.warnings:
        lines.append(("Warnings", ", ".join(code.replace("_", " ") for code in asked.warnings)))
    return lines


def describe_people(asked: Asked) -> list[tuple[str, str]]:
    """What people made of an answer, in the order in which it was recorded; with what each signature means.

    Reference: 21 CFR 11.50.
    """
    lines: list[tuple[str, str]] = []
    for review in asked.reviews:
        text = f": {review.text}" if review.text else ""
        lines.append((f"{review.verdict}, {review.row.recorded:%Y-%m-%d}", f"{review.reviewer}{text}"))
    for signature in asked.signatures:
        when = f"{signature.row.recorded:%Y-%m-%d %H:%M:%S} UTC"
        lines.append(("Signed", f"{signature.signer}, {when}: {signature.meaning}"))
    for addendum in asked.addenda:
        when = f"Addendum, {addendum.row.recorded:%Y-%m-%d}"
        lines.append((when, f"{addendum.author}: {addendum.text}"))
    return lines or [("Review", "nobody reviewed this answer")]


def describe_source(asked: Asked, model: ModelPart) -> str:
    """What answered, and where the answer is recorded."""
    return (
        f"{model.name}, {asked.model[:12]}; answer {asked.answer_id}, audit row {asked.row.sequence},"
        f" leaf hash {asked.row.leaf_hash}"
    )


def _nats(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f} nats"  # the sum makes -0.0 a 0.0


def _describe_heatmap(heatmap: HeatmapPart) -> str:
    graded = "not graded" if heatmap.grade is None else f"graded {heatmap.grade}"
    shown = "" if heatmap.drawn else "; not drawn: not at hand"
    if heatmap.grade == "chance":
        shown = "; not drawn: it is no better than random maps"
    return f"{heatmap.method.replace('_', ' ')}, {graded}{shown}"


def _describe_model(model: ModelPart) -> str:
    return (
        f"{model.name}, digest {model.digest}; weights {model.weights_sha256}; adapter"
        f" {model.adapter_sha256 or 'none'}; tokenizer {model.tokenizer_sha256}; calibration"
        f" {model.calibration_sha256 or 'none'}; prompt {model.prompt_version}"
    )
