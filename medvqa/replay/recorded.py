"""What a row pins of an answer, read and checked once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from audit import Event, Filter, Log, ReadError
from audit.actions import Action
from audit.merkle import leaf_hash
from audit.rows import Row, read_row
from medvqa.replay.differences import Difference
from medvqa.types import UNKNOWN

_MOST_DIGITS = 18  # what every database's integers hold

Kinds: TypeAlias = Mapping[Any, Any]
"""Keys that must be there, and the type of each."""

_NUMBER = int | float
_ANSWER: Kinds = MappingProxyType(
    dict.fromkeys(("question", "answer"), str)
    | dict.fromkeys(("image", "model", "checks"), dict)
    | dict.fromkeys(("applied", "tokens", "token_ids"), list)
)
_IMAGE: Kinds = MappingProxyType(
    {"sop_instance_uid": str, "frame_number": int, "pixel_sha256": str, "file_sha256": str}
)
_MODEL: Kinds = MappingProxyType(
    dict.fromkeys(("name", "weights_sha256", "tokenizer_sha256", "prompt_version"), str)
    | dict.fromkeys(("adapter", "adapter_sha256"), str | None)
    | dict.fromkeys(("parameters", "libraries"), dict)
)
_PARAMETERS: Kinds = MappingProxyType({"device": str, "threads": int, "max_new_tokens": int})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An answer as its row has it; mappings are those of the event's entity."""

    event: Event
    question: str
    image: Mapping[str, Any]
    applied: tuple[Mapping[str, Any], ...]
    model: Mapping[str, Any]
    output: Mapping[str, Any]
    """`prompt` (None in rows of medvqa 0.1), `token_ids`, `answer`, `tokens`, `checks_version` (None in rows
    of earlier programs), `batch_size`, `checks`, and under `heatmaps` the digest of each by its method."""


def find_row(log: Log, reference: str) -> Row:
    """Find the row of an answer by the row's number or the answer's id.

    Raises:
        ReadError: If the trail holds none, or its body is archived.
    """
    is_row = reference.isdecimal() and len(reference) <= _MOST_DIGITS
    given = Filter(subject=reference, action=Action.ANSWER, outcome="success")
    wanted = Filter(sequence=int(reference)) if is_row else given
    row = next(log.read_rows(wanted, limit=1), None)
    if row is None:
        raise ReadError(
            f"the audit trail holds no answer {reference}; see `medvqa audit list --action answer`"
        )
    if row.body is None:
        read_row(row)  # says that it is archived
    return row


def explaining_rows(log: Log, answer: Row) -> list[Row]:
    """The rows of the heatmaps that were made for an answer."""
    return list(log.read_rows(Filter(subject=answer.subject, action=Action.EXPLAIN)))


def compare_leaves(rows: Iterable[Row]) -> Iterator[Difference]:
    """Compare each row's body with the leaf hash that the row keeps."""
    for row in rows:
        found = leaf_hash(str(row.body).encode("utf-8", "surrogateescape"))
        kept = row.hashes[:32] if isinstance(row.hashes, bytes) else b""
        if found != kept:
            note = "leaf hash: the row was altered after it was recorded, see `medvqa audit verify`"
            what = f"row {row.sequence}"
            yield Difference(what=what, recorded=kept.hex(), found=found.hex(), note=note)


def read_recorded(row: Row, explaining: Iterable[Row]) -> Recorded:
    """Read an answer's row, and those of its heatmaps.

    Raises:
        ReadError: If it records something else than an answer, or lacks what a replay needs.
    """
    event = read_row(row)
    if (event.action, event.outcome) != (Action.ANSWER, "success"):
        raise ReadError(
            f"row {event.sequence} records {event.action!r} ({event.outcome}), not an answer that was given; "
            "see `medvqa audit list --action answer`"
        )
    entity: Mapping[str, Any] = event.entity
    try:
        _require_files(event)
        _require_answer(entity)
        heatmaps = _read_heatmaps([event, *map(read_row, explaining)])
    except (KeyError, TypeError) as error:
        raise ReadError(
            f"row {event.sequence} does not hold all that a replay needs; it was recorded by another program"
        ) from error
    return Recorded(
        event=event,
        question=entity["question"],
        image=entity["image"],
        applied=tuple(entity["applied"]),
        model=entity["model"],
        output={
            **{name: entity[name] for name in ("token_ids", "answer", "tokens")},
            **{name: entity.get(name) for name in ("prompt", "checks_version")},
            "batch_size": entity.get("batch_size", 1),
            "checks": _comparable_checks(entity),
            "heatmaps": heatmaps,
        },
    )


def _read_heatmaps(events: Iterable[Event]) -> dict[str, str]:
    """Digest of each heatmap by its method: the answer's row has one, rows that explain it have others.

    Those of a part of an answer are passed over: a replay explains the whole of it.
    """
    found: dict[str, str] = {}
    for event in events:
        heatmap: Any = event.entity.get("heatmap")
        if heatmap is not None:
            _require(heatmap, {"method": str, "sha256": str})
            if heatmap.get("part") is None:
                found[heatmap["method"]] = heatmap["sha256"]
    return found


def _comparable_checks(entity: Mapping[str, Any]) -> Mapping[str, Any]:
    """What can be found again: the raw probability alone, called `confidence`, in rows without a version.

    Their other numbers were not measured in one batch, and their verdict followed another rule.
    """
    checks = entity["checks"]
    return checks if entity.get("checks_version") is not None else {"token_probability": checks["confidence"]}


def _require_files(event: Event) -> None:
    """Refuse an answer that a server gave.

    Raises:
        ReadError: If so.
        KeyError, TypeError: If the row does not say which model answered.
    """
    model: Any = event.entity["model"]
    if model["weights_sha256"] == UNKNOWN:
        raise ReadError(
            f"row {event.sequence} has an answer of a model on a server, whose weights nobody here knows, so"
            " it cannot be computed again bit by bit; ask the question again instead"
        )


def _require_answer(entity: Mapping[str, Any]) -> None:
    """Check whatever a replay reads.

    Raises:
        KeyError, TypeError: If something is not there, or of another type.
    """
    _require(entity, _ANSWER)
    _require(entity["image"], _IMAGE)
    _require(entity["model"], _MODEL)
    _require(entity["model"]["parameters"], _PARAMETERS)
    if min(entity["model"]["parameters"][name] for name in ("threads", "max_new_tokens")) < 1:
        raise TypeError("neither threads nor tokens can be fewer than one")
    _require(entity["checks"], {"verdict": str, "confidence": _NUMBER})
    for step in entity["applied"]:
        _require(step, {"name": str, "parameters": dict})
    for token in entity["tokens"]:
        _require(token, {"log_probability": _NUMBER})


def _require(value: Mapping[str, Any], kinds: Kinds) -> None:
    for name, kind in kinds.items():
        if not isinstance(value[name], kind):
            raise TypeError(name)
