"""Rows of a trail: how an entry becomes a row, and how a row is read back."""

from dataclasses import fields
from datetime import datetime
from typing import Any, NamedTuple, cast, get_args

from audit.canonical import canonical_json, parse_json, require_plain
from audit.errors import AppendError, ReadError
from audit.types import Entry, Event, Outcome

_TEXTS = ("agent", "action", "subject", "outcome")
_OPTIONAL_TEXTS = ("role", "patient", "study", "model", "verdict")
_OUTCOMES = get_args(Outcome)
_REQUIRED = {"sequence", "recorded", "agent", "action", "subject", "entity"}
_KNOWN = {field.name for field in fields(Event)} - {"hash"}


class Row(NamedTuple):
    """One row as the database holds it; `Any` where tampering may have left anything."""

    sequence: int
    recorded: Any
    agent: Any
    action: Any
    subject: Any
    outcome: Any
    source: Any
    role: Any
    patient: Any
    study: Any
    model: Any
    verdict: Any
    confidence: Any
    body: Any
    hashes: Any


def plain_entry(entry: Entry) -> dict[str, Any]:
    """An entry's fields as exact JSON, those that are None left out.

    Raises:
        AppendError: If a text is empty or holds a control character, the outcome is none of those known, the
            confidence lies outside [0, 1], or the entity is not exact JSON.
    """
    content: dict[str, Any] = {name: _require_label(getattr(entry, name), name) for name in _TEXTS}
    if entry.outcome not in _OUTCOMES:
        raise AppendError(f"outcome must be one of {', '.join(_OUTCOMES)}; got {entry.outcome}")
    for name in _OPTIONAL_TEXTS:
        if (value := getattr(entry, name)) is not None:
            content[name] = _require_label(value, name)
    if entry.confidence is not None:
        content["confidence"] = _require_fraction(entry.confidence)
    content["entity"] = require_plain(entry.entity)
    return content


def compose_body(described: dict[str, Any]) -> bytes:
    """The canonical content that the leaf hash covers, UTF-8: an entry's with sequence, recorded, source."""
    return canonical_json(described)


def write_time(moment: datetime) -> str:
    """A UTC time as text that sorts as the times do."""
    return moment.isoformat(timespec="microseconds")


def read_body(body: object) -> dict[str, Any] | None:
    """Decode a row's canonical content; None when it is not what a trail records."""
    if not isinstance(body, str):
        return None
    try:
        content = parse_json(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    held = cast("dict[str, Any]", content)
    if not held.keys() >= _REQUIRED or not held.keys() <= _KNOWN:
        return None
    texts = (*_TEXTS, *_OPTIONAL_TEXTS, "recorded", "source")
    typed = isinstance(held["entity"], dict) and all(isinstance(held.get(name, ""), str) for name in texts)
    return held if typed else None


def read_row(row: Row) -> Event:
    """Read a row as an event, from its body alone: that is what the hash covers.

    Raises:
        ReadError: If the body was moved to an archive, or is not what a trail records.
    """
    if row.body is None:
        raise ReadError(f"row {row.sequence} of the audit trail is archived; read it from its archive file")
    content = read_body(row.body)
    try:
        if content is None:
            raise ValueError("not a body")
        recorded = datetime.fromisoformat(content["recorded"])
        return event_of(content, recorded=recorded, leaf=bytes(row.hashes)[:32])
    except (TypeError, ValueError) as error:
        raise ReadError(f"row {row.sequence} of the audit trail is malformed; verify the trail") from error


def event_of(content: dict[str, Any], *, recorded: datetime, leaf: bytes) -> Event:
    """The event that a body's fields describe."""
    described: dict[str, Any] = {**content, "recorded": recorded, "hash": leaf.hex()}
    return Event(**described)


def _require_label(value: Any, name: str) -> str:
    """One printable line, so that no terminal or table is misled."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise AppendError(f"{name} must be one line of printable text, and not empty; correct it")
    return value


def _require_fraction(value: float) -> float:
    if not 0 <= value <= 1:
        raise AppendError(f"confidence must lie between 0 and 1, got {value}")
    return float(value)
