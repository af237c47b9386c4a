"""The folder of a listener: what came, what came of it, and so what is still to be done after a restart.

    studies/STUDY_UID/SOP_UID.dcm     as it was received
    results/STUDY_UID/SOP_UID.dcm     a result, made
    results/STUDY_UID/SOP_UID.sent    and that the PACS has it, or never will
    results/STUDY_UID/DIGEST.done     the study was answered as it was with the instances of this digest

Every file is written whole or not at all, so whatever a crash left says how far each study had come.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from audit import JSON
from medvqa.errors import PacsError
from medvqa.pacs.instances import keep


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """A listener's folder."""

    folder: Path

    def place(self, study: str) -> Path:
        """Folder of a study's instances."""
        return self.folder / "studies" / study

    def results(self, study: str) -> list[Path]:
        """Files of the results of a study."""
        return sorted((self.folder / "results" / study).glob("*.dcm"))

    def unsent(self, study: str) -> list[Path]:
        """Results of a study that are to be sent yet."""
        return [path for path in self.results(study) if not path.with_suffix(".sent").exists()]

    def path_of_result(self, study: str, sop_instance_uid: str) -> Path:
        """Where a result is, or would be."""
        return self.folder / "results" / study / f"{sop_instance_uid}.dcm"

    def digest(self, study: str) -> str:
        """Names the instances that a study has now: SHA-256 over their UIDs."""
        uids = sorted(path.stem for path in self.place(study).glob("*.dcm"))
        return hashlib.sha256("\n".join(uids).encode()).hexdigest()

    def is_done(self, study: str, digest: str) -> bool:
        """Whether a study was answered with the instances of a digest."""
        return self._done(study, digest).exists()

    def mark_done(self, study: str, digest: str, said: Mapping[str, JSON]) -> None:
        """Note durably that it was, and what came of it.

        Raises:
            OSError: If it cannot be written.
        """
        keep(json.dumps(said).encode() + b"\n", self._done(study, digest))

    def mark_sent(self, result: Path, said: str) -> None:
        """Note durably that a result is not to be sent again.

        Raises:
            OSError: If it cannot be written.
        """
        keep(f"{said}\n".encode(), result.with_suffix(".sent"))

    def unfinished(self, *, sending: bool) -> list[str]:
        """Studies that are to be answered yet, or whose results are to be sent."""
        there = sorted(path.name for path in (self.folder / "studies").glob("*") if any(path.glob("*.dcm")))
        return [
            study
            for study in there
            if not self.is_done(study, self.digest(study)) or (sending and self.unsent(study))
        ]

    def _done(self, study: str, digest: str) -> Path:
        return self.folder / "results" / study / f"{digest}.done"


@contextmanager
def opened(folder: Path) -> Generator[Inbox]:
    """A folder that no other listener works in meanwhile; it is made.

    Raises:
        PacsError: If it cannot be written to, or another listener works in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise PacsError(f"the folder {folder} cannot be written to: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise PacsError(f"another listener works in {folder}; give each a folder of its own") from error
        yield Inbox(folder=folder.absolute())
