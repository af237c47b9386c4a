"""An append-only trail of events, a Merkle tree that can be checked by anyone who holds a signed head of it.

The package knows nothing of images or models: an event is who did what to what, with a JSON entity.

    log = audit.Log("sqlite:///trail.sqlite")
    log.append(audit.Entry(agent="dr-17", action="review", subject="answer-1", entity={"verdict": "agree"}))
    assert log.verify().intact
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audit.errors import (
        AppendError,
        AuditError,
        CheckpointError,
        ClockError,
        KeyFileError,
        LockedError,
        OpenError,
        ReadError,
        SchemaError,
    )
    from audit.log import Log
    from audit.query import Filter
    from audit.types import JSON, Checkpoint, Entry, Event, Problem, TreeHead, Verification

# Loaded on use, so that catching an error or naming a type costs no import of SQLAlchemy.
_HOMES = {
    "JSON": "audit.types",
    "AppendError": "audit.errors",
    "AuditError": "audit.errors",
    "Checkpoint": "audit.types",
    "CheckpointError": "audit.errors",
    "ClockError": "audit.errors",
    "Entry": "audit.types",
    "Event": "audit.types",
    "Filter": "audit.query",
    "KeyFileError": "audit.errors",
    "LockedError": "audit.errors",
    "Log": "audit.log",
    "OpenError": "audit.errors",
    "Problem": "audit.types",
    "ReadError": "audit.errors",
    "SchemaError": "audit.errors",
    "TreeHead": "audit.types",
    "Verification": "audit.types",
}

__all__ = [
    "JSON",
    "AppendError",
    "AuditError",
    "Checkpoint",
    "CheckpointError",
    "ClockError",
    "Entry",
    "Event",
    "Filter",
    "KeyFileError",
    "LockedError",
    "Log",
    "OpenError",
    "Problem",
    "ReadError",
    "SchemaError",
    "TreeHead",
    "Verification",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'audit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
