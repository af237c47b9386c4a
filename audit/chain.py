"""Rows of a trail: how content becomes bytes, how rows are linked, and how they are read back."""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from audit.canonical import canonical_json, parse_json
from audit.errors import AppendError, ReadError
from audit.types import Event

COLUMNS = ("recorded", "agent", "action", "subject")
"""Fields that stand in the body and, for searching, in a column of their own."""


class Row(NamedTuple):
    """One row as the database holds it; `Any` where tampering may have left anything."""

    sequence: int
    recorded: Any
    agent: Any
    action: Any
    subject: Any
    body: Any
    previous_hash: Any
    hash: Any


def compose_row(*, sequence: int, previous_hash: str, recorded: datetime, content: Mapping[str, Any]) -> Row:
    """Make the row that continues a chain.

    Args:
        sequence: Its number, from 1.
        previous_hash: Hash of the row before, lower hex.
        recorded: Time in UTC.
        content: `agent`, `action`, `subject` and `entity`, in plain JSON values.
    """
    moment = recorded.isoformat(timespec="microseconds")
    body = canonical_json({**content, "sequence": sequence, "recorded": moment})
    return Row(
        sequence=sequence,
        recorded=moment,
        agent=content["agent"],
        action=content["action"],
        subject=content["subject"],
        body=body,
        previous_hash=previous_hash,
        hash=chain_hash(previous_hash, body),
    )


def chain_hash(previous_hash: str, body: bytes) -> str:
    """SHA-256 over the predecessor's 32-byte digest followed by the row's canonical content; lower hex."""
    return hashlib.sha256(bytes.fromhex(previous_hash) + body).hexdigest()


def is_digest(value: object) -> bool:
    """Whether a value is a 32-byte digest in lower hex."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def read_body(body: object) -> dict[str, Any] | None:
    """Decode a row's canonical content; None when it is not what a trail records."""
    if not isinstance(body, bytes):
        return None
    try:
        content = parse_json(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or content.keys() != {*COLUMNS, "sequence", "entity"}:
        return None
    typed = all(isinstance(content[name], str) for name in COLUMNS) and isinstance(content["entity"], dict)
    return content if typed else None


def read_row(row: Row) -> Event:
    """Read a row as an event, from its body alone: that is what the hash covers.

    Raises:
        ReadError: If the body is not what a trail records.
    """
    content = read_body(row.body)
    try:
        if content is None:
            raise ValueError("not a body")
        recorded = datetime.fromisoformat(content["recorded"])
    except (TypeError, ValueError) as error:
        raise ReadError(f"row {row.sequence} of the audit trail is malformed; verify the trail") from error
    return Event(
        sequence=row.sequence,
        recorded=recorded,
        agent=content["agent"],
        action=content["action"],
        subject=content["subject"],
        entity=content["entity"],
        hash=row.hash,
        previous_hash=row.previous_hash,
    )


def require_label(value: str, name: str) -> str:
    """Check an agent, action or subject: one printable line, so that no terminal or table is misled.

    Raises:
        AppendError: If it is empty or holds a control character.
    """
    if not value or not value.isprintable():
        raise AppendError(f"{name} must be one line of printable text, and not empty; correct it")
    return value
