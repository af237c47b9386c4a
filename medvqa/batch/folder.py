"""The folder of a batch: what it is about, which studies are done, and that one run at a time works on it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from audit.keys import sync_folder
from medvqa.errors import BatchError

_BATCH = "batch.json"
_LOCK = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFolder:
    """Where a batch is written: `studies/UID/` holds reports, `done/KEY.json` what came of a study.

    A study is done once its file in `done` is there: it is written last, and under another name first.
    """

    path: Path

    @property
    def done(self) -> Path:
        """A file a study, by `StudySource.key`."""
        return self.path / "done"

    @property
    def incoming(self) -> Path:
        """Where studies that are fetched from a PACS wait; each is removed once it is done."""
        return self.path / "incoming"

    def studies(self, study_instance_uid: str) -> Path:
        """Where the reports of a study are."""
        return self.path / "studies" / study_instance_uid

    def begin(self, about: Mapping[str, Any]) -> None:
        """Make the folder, or take up what an earlier run of the same batch left in it.

        Args:
            about: What the batch asks, of which model: JSON.

        Raises:
            BatchError: If another batch is in it, or it cannot be written to.
        """
        file = self.path / _BATCH
        try:
            self.done.mkdir(parents=True, exist_ok=True)
            if not file.exists():
                write_whole(file, json.dumps(about, indent=2).encode())
            known = json.loads(file.read_bytes())
        except (OSError, ValueError) as error:
            raise BatchError(f"{self.path} cannot be used for a batch; name a new folder as --out") from error
        changed = [name for name in {*known, *about} if known.get(name) != about.get(name)]
        if changed:
            raise BatchError(
                f"{self.path} holds a batch with other {' and '.join(sorted(changed))}; name a new folder as "
                "--out, or repeat what was asked first"
            )

    @contextmanager
    def alone(self, *, wait_s: float) -> Generator[None]:
        """Work on the folder while no other run does.

        What a killed run left behind may go on for seconds: it is waited for, lest both ask the same.

        Raises:
            BatchError: If another run is still at work after `wait_s` seconds.
        """
        with (self.path / _LOCK).open("a") as lock:
            until = time.monotonic() + wait_s
            while not _locked(lock, fcntl.LOCK_EX):
                if time.monotonic() > until:
                    raise BatchError(f"another run is at work in {self.path}; wait until it is done")
                time.sleep(0.2)
            # Shared from here on, with the processes that answer: see `join`.
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    def join(self) -> IO[str]:
        """What a process of the run holds open while it works: no later run begins before it ended."""
        lock = (self.path / _LOCK).open("a")
        fcntl.flock(lock, fcntl.LOCK_SH)
        return lock

    def is_done(self, key: str) -> bool:
        """Whether a study needs nothing more."""
        return (self.done / f"{key}.json").exists()

    def finish(self, key: str, outcome: Mapping[str, Any]) -> None:
        """Say what came of a study; it is done then."""
        write_whole(self.done / f"{key}.json", json.dumps(outcome, ensure_ascii=False).encode())

    def outcomes(self) -> Iterator[dict[str, Any]]:
        """What came of each study that is done, one at a time, in order of the keys."""
        for file in sorted(self.done.glob("*.json")):
            yield cast("dict[str, Any]", json.loads(file.read_bytes()))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there wholly or not at all, whatever happens meanwhile."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)


def _locked(lock: IO[str], how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
