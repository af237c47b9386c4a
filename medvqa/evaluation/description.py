"""The scoreboard as JSON: the form that scripts and other tests read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medvqa.evaluation.duplicates import Duplicate
    from medvqa.evaluation.scoreboard import Row, Scoreboard
    from medvqa.types import ModelIdentity


def describe_board(board: Scoreboard) -> dict[str, Any]:
    """The figures, rounded to four places."""
    return {
        "rows": {name: describe_row(row) for name, row in board.rows.items()},
        "majority_from": board.majority_from,
        "calibration_error": round(board.calibration_error, 4),
        "confidence_calibrated": board.calibrated,
        "abstained": round(board.abstained, 4),
        "gate_refused": board.gate_refused,
        "unfamiliar": board.unfamiliar,
        "not_asked": board.not_asked,
        "seconds_per_answer": round(board.seconds_per_answer, 4),
        "tokens_per_second": round(board.tokens_per_second, 1),
        "peak_memory_mb": round(board.peak_memory_mb, 1),
    }


def describe_row(row: Row) -> dict[str, Any]:
    """Figures by name, `intervals`, counts, and `by_kind` the same."""
    described: dict[str, Any] = {
        name: None if value is None else round(value, 4) for name, value in row.figures.items()
    }
    described["intervals"] = {
        name: None if value is None else [round(edge, 4) for edge in value]
        for name, value in row.intervals.items()
    }
    described |= {"cases": row.cases, "groups": row.groups}
    if row.by_kind:
        described["by_kind"] = {kind: describe_row(one) for kind, one in row.by_kind.items()}
    return described


def describe_duplicates(found: Sequence[Duplicate], folder: Path) -> list[dict[str, Any]]:
    """Files as their paths from `folder`, and the bits that differ."""
    return [
        {
            "image": os.path.relpath(one.image, folder),
            "train_image": os.path.relpath(one.train_image, folder),
            "distance": one.distance,
        }
        for one in found
    ]


def describe_identity(identity: ModelIdentity) -> dict[str, Any]:
    """What exactly answered."""
    return {
        "name": identity.name,
        "model_type": identity.model_type,
        "weights_sha256": identity.weights_sha256,
        "adapter": identity.adapter,
        "adapter_sha256": identity.adapter_sha256,
        "calibration_sha256": identity.calibration_sha256,
        "parameters": dict(identity.parameters),
    }
