"""An answer as JSON, for scripts and for the service: as it was given, or as its row tells it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from medvqa.types import NOT_FOR_DIAGNOSIS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from audit import Event
    from medvqa.types import Answer, Notice


def describe(answer: Answer) -> dict[str, Any]:
    """The answer as `medvqa ask --json` prints it; whoever writes the files of a heatmap names them in it."""
    described: dict[str, Any] = {
        "answer_id": answer.answer_id,
        "audit_id": answer.audit_id,
        "question": answer.question,
        "text": answer.text,
        "checks": asdict(answer.checks),
        "heatmap": None,
        "image": asdict(answer.image),
        "model": asdict(answer.model),
        "warnings": [asdict(notice) for notice in answer.warnings],
        "created": answer.created.isoformat(),
        "seconds": round(answer.seconds, 3),
        "notice": NOT_FOR_DIAGNOSIS,
    }
    if answer.heatmap is not None:
        described["heatmap"] = {
            "method": answer.heatmap.method,
            "explained": answer.heatmap.explained,
            "convergence_delta": answer.heatmap.convergence_delta,
            "grade": None if answer.heatmap.grade is None else asdict(answer.heatmap.grade),
            "grid": list(answer.heatmap.grid),
            "shape": list(answer.heatmap.values.shape),
            "overlay": None,
            "values": None,
        }
    return described


def describe_recorded(answered: Event, notices: Iterable[Notice]) -> dict[str, Any]:
    """The answer as its row tells it: of a heatmap its method, grade and digest, for the map was not kept.

    Args:
        answered: The row, which is one of an answer that was given.
        notices: What is known to warn of, in words; the row has the codes alone.
    """
    entity = cast("Mapping[str, Any]", answered.entity)
    told = {notice.code: asdict(notice) for notice in notices}
    unknown = {"message": "see the row of the answer", "tag": None}
    heatmap = entity["heatmap"]
    sizes = ("rows", "columns")
    return {
        "answer_id": answered.subject,
        "audit_id": answered.sequence,
        "question": entity["question"],
        "text": entity["answer"],
        "checks": entity["checks"],
        "heatmap": None if heatmap is None else {**heatmap, "overlay": None, "values": None},
        "image": {name: value for name, value in entity["image"].items() if name not in sizes},
        "model": entity["model"],
        "warnings": [told.get(code, {"code": code, **unknown}) for code in entity["warnings"]],
        "created": answered.recorded.isoformat(),
        "seconds": 0.0,
        "notice": NOT_FOR_DIAGNOSIS,
    }
