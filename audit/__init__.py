"""An append-only, hash-chained trail of events that can be checked by anyone who holds the file.

The package knows nothing of images or models: an event is who did what to what, with a JSON entity.

    log = audit.Log("sqlite:///trail.sqlite")
    event = log.append(agent="dr-17", action="review", subject="answer-1", entity={"verdict": "agree"})
    assert log.verify(expected_head=event.hash).intact
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audit.errors import AppendError, AuditError, LockedError, OpenError, ReadError, SchemaError
    from audit.log import Log
    from audit.types import JSON, Event, Problem, Verification

# Loaded on use, so that catching an error or naming a type costs no import of SQLAlchemy.
_HOMES = {
    "JSON": "audit.types",
    "AppendError": "audit.errors",
    "AuditError": "audit.errors",
    "Event": "audit.types",
    "LockedError": "audit.errors",
    "Log": "audit.log",
    "OpenError": "audit.errors",
    "Problem": "audit.types",
    "ReadError": "audit.errors",
    "SchemaError": "audit.errors",
    "Verification": "audit.types",
}

__all__ = [
    "JSON",
    "AppendError",
    "AuditError",
    "Event",
    "LockedError",
    "Log",
    "OpenError",
    "Problem",
    "ReadError",
    "SchemaError",
    "Verification",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'audit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
