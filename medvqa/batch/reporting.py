"""The last step of a batch: a study's reports and rows are written, and it is done."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from medvqa.batch.answering import AnsweredStudy
from medvqa.batch.folder import write_whole
from medvqa.reports import FORMS, compose, issue_all
from medvqa.study import read_study

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medvqa.batch.folder import BatchFolder
    from medvqa.batch.preparing import FailedStudy
    from medvqa.reports import Form, Report, Statement, Template
    from medvqa.sessions import Session


def finish_study(
    session: Session,
    folder: BatchFolder,
    ended: AnsweredStudy | FailedStudy,
    *,
    forms: Sequence[Form],
    template: Template | None,
) -> dict[str, Any]:
    """Write what came of a study: its reports, then that it is done.

    Args:
        session: Who reports.
        folder: Of the batch.
        ended: From the steps before.
        forms: Of reports; each is recorded before it is written.
        template: Of reports in HTML; None for the shipped one.

    Returns:
        What `BatchFolder.outcomes` gives back.

    Raises:
        RecordError: If the trail did not take the reports.
        TemplateError: If the template fails on this report.
        AuditError: If the trail cannot be read.
    """
    if isinstance(ended, AnsweredStudy):
        outcome = _report(session, folder, ended, forms=forms, template=template)
    else:
        outcome = _outcome(ended, status="failed", reason=ended.reason)
    folder.finish(ended.source.key, outcome)
    if ended.source.node is not None:
        shutil.rmtree(folder.incoming / str(ended.source.study_instance_uid), ignore_errors=True)
    return outcome


def _report(
    session: Session,
    folder: BatchFolder,
    ended: AnsweredStudy,
    *,
    forms: Sequence[Form],
    template: Template | None,
) -> dict[str, Any]:
    uid = ended.study.study_instance_uid
    refused = [
        {"question": one.question, "image_number": one.image_number, "reason": one.reason}
        for one in ended.refused
    ]
    told = {
        "study_instance_uid": uid,
        "patient": session.pseudonym_of(ended.study),
        "modalities": sorted({series.modality for series in ended.study.series}),
        "images": len(ended.study.images),
        "refused": refused,
        "reused": ended.reused,
    }
    if not ended.answer_ids:
        reason = f"no question got an answer; the first was refused: {refused[0]['reason']}"
        return _outcome(ended, status="refused", reason=reason, **told)
    report = _compose(session, ended)
    place = folder.studies(uid)
    place.mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {}
    for issued in issue_all(session, report, forms, template=template):
        name = f"report{FORMS[issued.form].suffix}"
        write_whole(place / name, issued.content)
        files[name] = issued.sha256
    wanted = {*ended.answer_ids}
    answers = [_describe(one) for one in report.statements if one.story.answer_id in wanted]
    return _outcome(
        ended, status="answered", report_status=report.status, files=files, answers=answers, **told
    )


def _compose(session: Session, ended: AnsweredStudy) -> Report:
    report = compose(session, ended.study, heatmaps=ended.heatmaps)
    if all(statement.image is not None for statement in report.statements):
        return report
    # Somebody asked earlier about an image that the question set does not ask about.
    study = read_study(ended.source.paths, study_instance_uid=ended.source.study_instance_uid)
    return compose(session, study, heatmaps=ended.heatmaps)


def _outcome(ended: AnsweredStudy | FailedStudy, *, status: str, **told: Any) -> dict[str, Any]:
    return {"source": ended.source.name, "status": status, **told}


def _describe(statement: Statement) -> dict[str, Any]:
    """An answer as a row of the table: as the trail has it."""
    answered, entity = statement.story.answered, statement.entity
    heatmap = entity.get("heatmap") or {}
    return {
        "answer_id": statement.story.answer_id,
        "audit_id": answered.sequence,
        "leaf_hash": answered.hash,
        "recorded": answered.recorded.isoformat(),
        "question": entity["question"],
        "answer": entity["answer"],
        "held": statement.held,
        "struck_because": statement.reason,
        "state": statement.story.state,
        **{f"{name}_uid": entity["image"][f"{name}_instance_uid"] for name in ("series", "sop")},
        **{name: entity["image"][name] for name in ("frame_number", "pixel_sha256")},
        "image_number": statement.image_number,
        "modality": entity["modality"],
        **{name: entity["checks"].get(name) for name in _CHECKS},
        "heatmap_method": heatmap.get("method"),
        "heatmap_grade": (heatmap.get("grade") or {}).get("level"),
        "model": answered.model,
        "model_name": entity["model"]["name"],
        "batch_size": entity.get("batch_size", 1),
    }


_CHECKS = (
    "verdict",
    "confidence",
    "confidence_calibrated",
    "abstains",
    "image_reliance",
    "image_effect",
    "wording_effect",
)
