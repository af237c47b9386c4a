"""From a report, with its images, to the plain data that is written."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from medvqa.checks.verdict import MEANINGS
from medvqa.records import heatmap_sha256
from medvqa.reports.document import (
    AddendumPart,
    Asked,
    ChecksPart,
    Document,
    HeatmapPart,
    Held,
    ImagePart,
    ModelPart,
    Picture,
    ReviewPart,
    Row,
    SignaturePart,
    Struck,
    StudyPart,
    TreeHead,
)
from medvqa.reports.pictures import Drawn, draw_pictures
from medvqa.reports.wording import STATUS
from medvqa.types import NOT_FOR_DIAGNOSIS

if TYPE_CHECKING:
    from audit import Event
    from medvqa.reports.report import Report, Statement


def document_of(report: Report) -> Document:
    """A report as plain data, pictures included."""
    statements = report.statements
    drawn: Drawn = {}
    models = {str(one.story.answered.model): one.entity["model"] for one in statements}
    return Document(
        notice=NOT_FOR_DIAGNOSIS,
        status=report.status,
        status_text=STATUS[report.status],
        issued=report.issued,
        patient=report.patient,
        study=StudyPart(
            study_instance_uid=report.study_instance_uid, modalities=report.modalities, images=report.images
        ),
        answers=tuple(_held(one, one.held) for one in statements if one.held is not None),
        struck_out=tuple(_struck(one, one.struck) for one in statements if one.struck is not None),
        asked=tuple(_asked(one, drawn) for one in statements),
        models=tuple(_model(digest, model) for digest, model in models.items()),
        tree=TreeHead(size=report.tree.size, root=report.tree.root),
    )


def _held(statement: Statement, text: str) -> Held:
    return Held(
        answer_id=statement.story.answer_id,
        question=statement.story.question,
        text=text,
        given_by="model" if statement.struck is None else "reviewer",
        status=statement.story.status,
    )


def _struck(statement: Statement, words: str) -> Struck:
    return Struck(
        answer_id=statement.story.answer_id,
        question=statement.story.question,
        struck_words=words,
        reason=str(statement.reason),
    )


def _asked(statement: Statement, drawn: Drawn) -> Asked:
    story = statement.story
    image: Any = statement.entity["image"]
    warnings: Any = statement.entity["warnings"]
    return Asked(
        answer_id=story.answer_id,
        question=story.question,
        image=ImagePart(
            number=statement.image_number,
            series_instance_uid=image["series_instance_uid"],
            sop_instance_uid=image["sop_instance_uid"],
            frame_number=image["frame_number"],
            pixel_sha256=image["pixel_sha256"],
            modality=str(statement.entity["modality"]),
        ),
        checks=_checks(statement.entity["checks"]),
        heatmap=_heatmap(statement),
        warnings=tuple(warnings),
        reviews=tuple(_review(event) for event in story.reviews),
        signatures=tuple(_signature(event) for event in story.signatures),
        addenda=tuple(_addendum(event) for event in story.addenda),
        model=str(story.answered.model),
        row=_row(story.answered),
        pictures=tuple(
            Picture(kind=kind, caption=caption, data=base64.b64encode(content).decode())
            for kind, caption, content in draw_pictures(statement, drawn)
        ),
    )


def _checks(checks: Any) -> ChecksPart:
    return ChecksPart(
        verdict=checks["verdict"],
        meaning=MEANINGS[checks["verdict"]],
        confidence=checks["confidence"],
        confidence_calibrated=checks["confidence_calibrated"],
        abstains=checks["abstains"],
        image_reliance=checks["image_reliance"],
        image_effect=checks.get("image_effect"),
        wording_effect=checks.get("wording_effect"),
    )


def _heatmap(statement: Statement) -> HeatmapPart | None:
    """Of the map that is drawn, or else of the one that the answer was recorded with."""
    drawn, recorded = statement.heatmap, statement.entity.get("heatmap")
    if drawn is not None and statement.image is not None:
        return HeatmapPart(
            method=drawn.method,
            explained=drawn.explained,
            grade=None if drawn.grade is None else drawn.grade.level,
            drawn=True,
            sha256=heatmap_sha256(drawn),
        )
    if recorded is None:
        return None
    grade = recorded.get("grade")
    return HeatmapPart(
        method=recorded["method"],
        explained=recorded["explained"],
        grade=None if grade is None else grade["level"],
        drawn=False,
        sha256=recorded["sha256"],
    )


def _review(event: Event) -> ReviewPart:
    entity: Any = event.entity
    verdict: Any = event.verdict
    return ReviewPart(verdict=verdict, reviewer=entity["reviewer"], text=entity["text"], row=_row(event))


def _signature(event: Event) -> SignaturePart:
    entity: Any = event.entity
    return SignaturePart(signer=entity["signer"], meaning=entity["meaning"], row=_row(event))


def _addendum(event: Event) -> AddendumPart:
    return AddendumPart(author=event.agent, text=str(event.entity["text"]), row=_row(event))


def _model(digest: str, model: Any) -> ModelPart:
    return ModelPart(
        digest=digest,
        name=model["name"],
        weights_sha256=model["weights_sha256"],
        tokenizer_sha256=model["tokenizer_sha256"],
        adapter_sha256=model["adapter_sha256"],
        calibration_sha256=model.get("calibration_sha256"),
        prompt_version=model["prompt_version"],
    )


def _row(event: Event) -> Row:
    return Row(sequence=event.sequence, leaf_hash=event.hash, recorded=event.recorded)
