"""Which studies are coming in, and which have come whole."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medvqa.pacs.receiving import Caller


@dataclass(slots=True, kw_only=True)
class Arrivals:
    """Studies that are to be answered, each from a certain time on; several threads may tell of them.

    DICOM does not say when a study is complete. One is taken to be so once the associations that brought
    instances of it are over, and none has come for `quiet` seconds.
    """

    quiet: float
    _due: dict[str, float] = field(default_factory=dict[str, float])
    """By Study Instance UID: on the monotonic clock."""
    _open: dict[Caller, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Studies that each association brought; another instance may follow."""
    _lock: Lock = field(default_factory=Lock)

    def came(self, study: str, caller: Caller) -> None:
        """An instance of a study came that was not there."""
        with self._lock:
            self._due[study] = time.monotonic() + self.quiet
            self._open[caller].add(study)

    def ended(self, caller: Caller) -> None:
        """An association is over."""
        with self._lock:
            self._open.pop(caller, None)

    def postpone(self, studies: Iterable[str], seconds: float) -> None:
        """Have studies answered after so many seconds, but no later than they would be anyway."""
        with self._lock:
            for study in studies:
                self._due.setdefault(study, time.monotonic() + seconds)

    def take(self) -> str | None:
        """The study that has waited longest, which is then forgotten; None where none is complete."""
        with self._lock:
            coming = set[str]().union(*self._open.values())
            now = time.monotonic()
            whole = [study for study, due in self._due.items() if due <= now and study not in coming]
            if not whole:
                return None
            first = min(whole, key=self._due.__getitem__)
            del self._due[first]
            return first
