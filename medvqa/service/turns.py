"""Turns at the model: one thread asks, and what waited meanwhile is asked together.

There is no wait for a batch to fill: the first question goes at once, and those that come while it is
answered make up the next batch. So batches are as large as the model is slow, and one clinician alone waits
for nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Any, Generic, TypeVar

from medvqa.service.problems import too_busy

Put = TypeVar("Put")
"""What waits: a question, or anything else that the model is asked."""
Came = dict[str, Any]
"""What came of it, as JSON."""
Ask = Callable[[Sequence[Put]], Sequence[Came | Exception]]

TOGETHER = 16
"""At most in one batch, so that the first of it does not wait long for the last."""


class Turns(Generic[Put]):
    """A bounded queue before a model.

    Args:
        ask: Puts a batch to the model; what came of each, in order.
        most_waiting: Beyond which nothing more is taken.
        on_waiting: Told how many wait, whenever that changes.
    """

    def __init__(self, ask: Ask[Put], *, most_waiting: int, on_waiting: Callable[[int], object]) -> None:
        self._ask = ask
        self._most_waiting = most_waiting
        self._on_waiting = on_waiting
        self._waiting: deque[tuple[Put, Future[Came]]] = deque()
        self._changed = Condition()
        self._closed = False
        self._thread = Thread(target=self._run, name="asking", daemon=True)
        self._thread.start()

    def submit(self, put: Put) -> Future[Came]:
        """Wait for a turn; a future that is cancelled before its turn gives it up.

        Raises:
            RequestError: If too many wait, or the service ends.
        """
        future: Future[Came] = Future()
        with self._changed:
            if self._closed:
                raise too_busy("the service ends; ask again when it is back", retry_after_s=10)
            if len(self._waiting) >= self._most_waiting:
                message = f"{len(self._waiting)} questions wait already; ask again later"
                raise too_busy(message, retry_after_s=5)
            self._waiting.append((put, future))
            self._on_waiting(len(self._waiting))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Ask what waits, and then nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next():
            try:
                came = self._ask([put for put, _ in batch])
            except Exception as error:  # whatever it was, those who wait must learn of it
                came = [error] * len(batch)
            for (_, future), one in zip(batch, came, strict=True):
                if isinstance(one, Exception):
                    future.set_exception(one)
                else:
                    future.set_result(one)

    def _next(self) -> list[tuple[Put, Future[Came]]]:
        """What is asked next, nobody waiting for it having given up; nothing once the service ends."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                taken = [self._waiting.popleft() for _ in range(min(TOGETHER, len(self._waiting)))]
                self._on_waiting(len(self._waiting))
                batch = [one for one in taken if one[1].set_running_or_notify_cancel()]
                if batch or (self._closed and not self._waiting):
                    return batch
