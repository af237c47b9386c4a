"""Nouns to audit events: what exactly is written down about an answer or a refusal.

No patient attribute is among it: a study is named by its UIDs and digests, and the question is recorded as
it was asked, since a trail that lacks it could not be checked.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from audit import AuditError, Entry
from medvqa.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from audit import Event, Log
    from medvqa.models.base import Generation
    from medvqa.types import Checks, Heatmap, Image, ModelIdentity, Notice

ANSWERED = "answer"
REFUSED = "refuse"


def record(log: Log, *, agent: str, action: str, subject: str, entity: dict[str, Any]) -> Event:
    """Append one event.

    Raises:
        RecordError: If the trail did not take it.
    """
    try:
        return log.append(Entry(agent=agent, action=action, subject=subject, entity=entity))
    except AuditError as error:
        raise RecordError(f"the answer is withheld because it could not be recorded: {error}") from error


def describe_request(image: Image, question: str, model: ModelIdentity) -> dict[str, Any]:
    """What was asked, of which pixels, of which model."""
    return {
        "question": question,
        "image": {**asdict(image.ref), "rows": image.shape[0], "columns": image.shape[1]},
        "modality": image.modality,
        "applied": [asdict(step) for step in image.applied],
        "model": asdict(model),
    }


def describe_answer(
    generation: Generation, checks: Checks, heatmap: Heatmap | None, warnings: Sequence[Notice]
) -> dict[str, Any]:
    """What came of it."""
    return {
        "answer": generation.text,
        "tokens": [asdict(token) for token in generation.tokens],
        "token_ids": list(generation.token_ids),
        "checks": asdict(checks),
        "heatmap": None if heatmap is None else _describe_heatmap(heatmap),
        "warnings": [notice.code for notice in warnings],
    }


def heatmap_sha256(heatmap: Heatmap) -> str:
    """Digest of the map's values: little-endian float32 in reading order, after `rows x columns` as text."""
    rows, columns = heatmap.values.shape
    return hashlib.sha256(f"{rows}x{columns}".encode() + heatmap.values.astype("<f4").tobytes()).hexdigest()


def _describe_heatmap(heatmap: Heatmap) -> dict[str, Any]:
    return {
        "method": heatmap.method,
        "explained": heatmap.explained,
        "grid": list(heatmap.grid),
        "convergence_delta": heatmap.convergence_delta,
        "sha256": heatmap_sha256(heatmap),
    }
