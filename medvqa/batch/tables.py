"""The tables of a batch, as Parquet files: a row a study, and a row a question."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow
from pyarrow import parquet

if TYPE_CHECKING:
    from pathlib import Path

    from medvqa.batch.folder import BatchFolder

_AT_ONCE = 1000
"""Rows in memory, and in a row group of the file."""

pa: Any = pyarrow  # whose stubs know no types
ParquetWriter: Any = parquet.ParquetWriter

STUDIES = pa.schema(
    [
        ("study_instance_uid", pa.string()),
        ("source", pa.string()),
        ("patient", pa.string()),
        ("modalities", pa.list_(pa.string())),
        ("images", pa.int64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("report_status", pa.string()),
        ("answered", pa.int64()),
        ("refused", pa.int64()),
        ("reused", pa.int64()),
    ]
)
"""`status` is `answered`, `refused` where no question got an answer, or `failed`; `reason` says why."""

ANSWERS = pa.schema(
    [
        ("study_instance_uid", pa.string()),
        ("patient", pa.string()),
        ("image_number", pa.int64()),
        ("question", pa.string()),
        ("outcome", pa.string()),
        ("answer", pa.string()),
        ("held", pa.string()),
        ("struck_because", pa.string()),
        ("refused_because", pa.string()),
        ("state", pa.string()),
        ("verdict", pa.string()),
        ("confidence", pa.float64()),
        ("confidence_calibrated", pa.bool_()),
        ("abstains", pa.bool_()),
        ("image_reliance", pa.float64()),
        ("image_effect", pa.float64()),
        ("wording_effect", pa.float64()),
        ("heatmap_method", pa.string()),
        ("heatmap_grade", pa.string()),
        ("modality", pa.string()),
        ("series_uid", pa.string()),
        ("sop_uid", pa.string()),
        ("frame_number", pa.int64()),
        ("pixel_sha256", pa.string()),
        ("model", pa.string()),
        ("model_name", pa.string()),
        ("batch_size", pa.int64()),
        ("answer_id", pa.string()),
        ("audit_id", pa.int64()),
        ("leaf_hash", pa.string()),
        ("recorded", pa.string()),
    ]
)
"""`outcome` is `answered` or `refused`; `held` is what may be relied on, `answer` what the model said."""


def write_tables(folder: BatchFolder) -> None:
    """Write `studies.parquet` and `answers.parquet` from what came of each study, a part at a time."""
    _write(folder.path / "studies.parquet", STUDIES, map(_describe_study, folder.outcomes()))
    answers = (row for outcome in folder.outcomes() for row in _describe_answers(outcome))
    _write(folder.path / "answers.parquet", ANSWERS, answers)


def _write(path: Path, schema: Any, rows: Iterable[dict[str, Any]]) -> None:
    partial = path.with_name(f".{path.name}")
    coming = iter(rows)
    with ParquetWriter(partial, schema) as writer:
        while some := list(islice(coming, _AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(some, schema=schema))
    partial.replace(path)


def _describe_study(outcome: dict[str, Any]) -> dict[str, Any]:
    counts = {"answered": len(outcome.get("answers", ())), "refused": len(outcome.get("refused", ()))}
    return {name: outcome.get(name) for name in STUDIES.names} | counts


def _describe_answers(outcome: dict[str, Any]) -> Iterator[dict[str, Any]]:
    of = {name: outcome.get(name) for name in ("study_instance_uid", "patient")}
    for answer in outcome.get("answers", ()):
        yield {**of, **answer, "outcome": "answered"}
    for refused in outcome.get("refused", ()):
        yield {
            **of,
            "question": refused["question"],
            "image_number": refused["image_number"],
            "outcome": "refused",
            "refused_because": refused["reason"],
        }
