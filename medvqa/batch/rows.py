"""Studies as rows of Ray Data, whose blocks are tables: each is one cell of bytes."""

from __future__ import annotations

from typing import Any

import ray.cloudpickle

COLUMN = "study"
"""Holds a study: its source, then what each step made of it, its status at last; or what ends the batch."""


def as_row(study: object) -> dict[str, Any]:
    """A study as the next step takes it."""
    return {COLUMN: dump(study)}


def dump(value: object) -> bytes:
    """What `pickle` makes of it, functions that were defined on the way included."""
    pickle: Any = ray.cloudpickle
    return pickle.dumps(value)


def load(dumped: bytes) -> Any:
    """The other way; only what processes of this run wrote comes here."""
    pickle: Any = ray.cloudpickle
    return pickle.loads(dumped)
