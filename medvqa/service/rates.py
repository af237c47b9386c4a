"""How often a caller may ask: a bucket of tokens each, which fills up again with time."""

from __future__ import annotations

import math
import time
from threading import Lock
from typing import TYPE_CHECKING

from medvqa.service.problems import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable


class Rates:
    """Requests of each caller; so many at once, and as many a minute.

    Args:
        per_minute: Requests of one caller, from 1.
        clock: Seconds that only grow.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}
        """Requests that a caller has left, and when that was counted; callers are known, and so few."""
        self._counting = Lock()

    def take(self, name: str) -> None:
        """Count one request of a caller.

        Raises:
            RequestError: If there were too many.
        """
        with self._counting:
            now = self._clock()
            left, since = self._left.get(name, (float(self._per_minute), now))
            left = min(self._per_minute, left + (now - since) * self._per_minute / 60)
            self._left[name] = max(left - 1, 0.0) if left >= 1 else left, now
        if left < 1:
            seconds = math.ceil((1 - left) * 60 / self._per_minute)
            message = f"that were more than {self._per_minute} requests a minute; ask again in {seconds} s"
            raise RequestError(status=429, kind="RateLimited", message=message, retry_after_s=seconds)
