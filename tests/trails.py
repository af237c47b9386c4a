"""Trails for the tests: where they are, what is put in, and how others get at them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import audit

ROOT = Path(audit.__file__).parents[1]


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def entry(**fields: Any) -> audit.Entry:
    return audit.Entry(
        **{"agent": "dr-17", "action": "answer", "subject": "answer-1", "entity": {"text": "no"}, **fields}
    )


@contextmanager
def raw(url: str, *, settings: str = "") -> Iterator[sa.Connection]:
    """A connection as anybody with the database's password makes one, committed at the end."""
    postgresql = url.startswith("postgresql")
    engine = sa.create_engine(
        url.replace("postgresql:", "postgresql+psycopg:"),
        connect_args={"options": settings} if postgresql else {},
    )
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def python(code: str, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Python with the library at hand, in a process of its own; `before` names a program that runs it."""
    return subprocess.Popen(
        [*before, sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def clock_at(moment: datetime) -> type[datetime]:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return moment.astimezone(tz)

    return Clock


def works_again(log: audit.Log, *, rows: int) -> None:
    """The trail holds so many rows, takes another, and verifies."""
    assert log.size() == rows
    assert log.append(entry()).sequence == rows + 1
    result = log.verify()
    assert result.intact, result.problems
    assert result.events == rows + 1
