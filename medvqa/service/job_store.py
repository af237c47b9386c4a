"""Jobs on disk: what was asked for, what has come of it, and the studies that were sent, until they end."""

from __future__ import annotations

import json
import shutil
import sqlite3
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from medvqa.errors import ServiceError
from medvqa.service.callers import Caller

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medvqa.service.schemas import JobState

_TABLES = """
CREATE TABLE IF NOT EXISTS job (
    id TEXT PRIMARY KEY, caller TEXT NOT NULL, role TEXT, through TEXT NOT NULL, state TEXT NOT NULL,
    created TEXT NOT NULL, problem TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS question (
    job TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE, number INTEGER NOT NULL, source TEXT NOT NULL,
    study TEXT NOT NULL, image_number INTEGER NOT NULL, text TEXT NOT NULL, heatmap TEXT, came TEXT,
    PRIMARY KEY (job, number)
) STRICT;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A question set about what one caller sent."""

    job_id: str
    caller: Caller
    state: JobState
    created: datetime
    problem: str | None
    """Why it failed."""
    questions: int | None
    """How many are asked; None until the studies were read."""
    ended: int
    """How many were answered or refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One question of a job."""

    number: int
    """From 1, in the job."""
    source: str
    """Where the study lies in the job's folder."""
    study: str
    """Study Instance UID."""
    image_number: int
    text: str
    heatmap: str | None


class JobStore:
    """All jobs of one service, in a folder that nobody else may read.

    Raises:
        ServiceError: If the folder or the file of jobs in it is of no use.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._using = Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
            self._database = sqlite3.connect(
                folder / "jobs.sqlite", check_same_thread=False, isolation_level=None
            )
            self._database.executescript("PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON;" + _TABLES)
        except (OSError, sqlite3.Error) as error:
            raise ServiceError(f"jobs cannot be kept in {folder}; correct jobs in medvqa.toml") from error

    def new_folder(self) -> Path:
        """A folder for what is sent for a job; its name becomes the job's id."""
        folder = self._folder / str(uuid.uuid4())
        (folder / "studies").mkdir(parents=True, mode=0o700)
        return folder

    def add(self, folder: Path, caller: Caller) -> Job:
        """Keep a job whose question set and studies lie in a folder from `new_folder`."""
        created = datetime.now(UTC).isoformat()
        named = (folder.name, caller.name, caller.role, caller.through, "waiting", created)
        self._write("INSERT INTO job VALUES (?, ?, ?, ?, ?, ?, NULL)", *named)
        job = self.find(folder.name)
        if job is None:
            raise ServiceError("a job was not kept; look after the folder of jobs")
        return job

    def folder_of(self, job: Job) -> Path:
        """Where what was sent for it lies, until it ends."""
        return self._folder / job.job_id

    def find(self, job_id: str) -> Job | None:
        """A job by its id."""
        return next(iter(self._jobs("WHERE id = ?", job_id)), None)

    def next(self) -> Job | None:
        """The oldest job that has not ended, be it one that an earlier server began."""
        return next(
            iter(self._jobs("WHERE state IN ('waiting', 'running') ORDER BY created, id LIMIT 1")), None
        )

    def plan(self, job: Job, planned: Sequence[Planned]) -> None:
        """Keep what a job asks, all at once; what was planned before stays."""
        rows = [
            (job.job_id, one.number, one.source, one.study, one.image_number, one.text, one.heatmap)
            for one in planned
        ]
        with self._using:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany("INSERT INTO question VALUES (?, ?, ?, ?, ?, ?, ?, NULL)", rows)
            self._database.execute("COMMIT")

    def pending(self, job: Job) -> list[Planned]:
        """What has not been answered or refused yet, in order."""
        found = self._read(
            "SELECT number, source, study, image_number, text, heatmap FROM question"
            " WHERE job = ? AND came IS NULL ORDER BY number",
            job.job_id,
        )
        names = ("number", "source", "study", "image_number", "text", "heatmap")
        return [Planned(**dict(zip(names, row, strict=True))) for row in found]

    def keep(self, job: Job, planned: Planned, came: dict[str, Any]) -> None:
        """Keep what came of a question, as JSON."""
        self._write(
            "UPDATE question SET came = ? WHERE job = ? AND number = ?",
            json.dumps(came),
            job.job_id,
            planned.number,
        )

    def came(self, job: Job) -> list[dict[str, Any]]:
        """What came of the questions so far, in order."""
        found = self._read(
            "SELECT came FROM question WHERE job = ? AND came IS NOT NULL ORDER BY number", job.job_id
        )
        return [cast("dict[str, Any]", json.loads(came)) for (came,) in found]

    def enter(self, job: Job, state: JobState, *, problem: str | None = None) -> bool:
        """Move a job that has not ended to a state; whether it had not. With its end go the studies."""
        changed = self._write(
            "UPDATE job SET state = ?, problem = ? WHERE id = ? AND state IN ('waiting', 'running')",
            state,
            problem,
            job.job_id,
        )
        if changed and state not in ("waiting", "running"):
            shutil.rmtree(self.folder_of(job), ignore_errors=True)
        return changed > 0

    def remove(self, job: Job) -> None:
        """Forget a job and what came of it; the trail has what was answered."""
        self._write("DELETE FROM job WHERE id = ?", job.job_id)
        shutil.rmtree(self.folder_of(job), ignore_errors=True)

    def close(self) -> None:
        """Close the file of jobs."""
        with self._using:
            self._database.close()

    def _jobs(self, which: str, *values: str) -> list[Job]:
        counted = "(SELECT count({}) FROM question WHERE job = id)"
        # What is put in are constants of this file.
        query = (
            "SELECT id, caller, role, through, state, created, problem, "  # noqa: S608
            f"{counted.format('*')}, {counted.format('came')} FROM job {which}"
        )
        return [
            Job(
                job_id=job_id,
                caller=Caller(name=name, role=role, through=through),
                state=state,
                created=datetime.fromisoformat(created),
                problem=problem,
                questions=questions if questions or state == "done" else None,
                ended=ended,
            )
            for job_id, name, role, through, state, created, problem, questions, ended in self._read(
                query, *values
            )
        ]

    def _read(self, query: str, *values: str) -> list[Any]:
        with self._using:
            return self._database.execute(query, values).fetchall()

    def _write(self, query: str, *values: Any) -> int:
        with self._using:
            return self._database.execute(query, values).rowcount
