"""Work that takes seconds to minutes: which stage it is at, and how somebody who waits for it stops it.

Who waits makes a `LongWork` and lets the work run under `doing`; the work says `enter` at each stage, and the
model calls `go_on` before whatever takes long. Without a `LongWork` both do nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Event

from medvqa.errors import CancelledError


@dataclass(slots=True, kw_only=True)
class LongWork:
    """One piece of work, looked at from another thread."""

    stage: str = "Waiting for its turn"
    """What is being done, for a person."""
    _cancelled: Event = field(default_factory=Event, repr=False)

    def cancel(self) -> None:
        """Stop it before its next step."""
        self._cancelled.set()

    def wait(self, seconds: float) -> bool:
        """Let so much time pass, but none once somebody asked to stop it; says whether somebody did."""
        return self._cancelled.wait(seconds)

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked to stop it."""
        return self._cancelled.is_set()


_WORK: ContextVar[LongWork | None] = ContextVar("work", default=None)


@contextmanager
def doing(work: LongWork) -> Generator[None]:
    """Do, in this thread, what the block does as this work."""
    token = _WORK.set(work)
    try:
        yield
    finally:
        _WORK.reset(token)


def enter(stage: str) -> None:
    """Say what is being done from here on.

    Raises:
        CancelledError: If somebody asked to stop it.
    """
    work = _WORK.get()
    if work is not None:
        work.stage = stage
    go_on()


def go_on() -> None:
    """Raise `CancelledError` if somebody asked to stop the work that this is part of."""
    work = _WORK.get()
    if work is not None and work.is_cancelled:
        raise CancelledError("this was stopped before it was done, as asked; ask again for an answer")
