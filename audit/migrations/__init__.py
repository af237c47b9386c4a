"""How the tables of a trail came to be, one Alembic revision a change."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audit.migrations.upgrading import migrate

HEAD = "0001"
"""The revision that this version of the package reads and writes."""

# Only a new or an old trail needs Alembic: opening one at `HEAD` does without its import.
_HOMES = {"migrate": "audit.migrations.upgrading"}

__all__ = ["HEAD", "migrate"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'audit.migrations' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
