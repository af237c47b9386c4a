"""The three steps of a batch as functions of rows, for Ray's processes: read, answer, report.

Each process opens the trail, the key and the template once, and holds the folder's lock while it lives.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from audit import Log
from audit.errors import AuditError
from medvqa.batch.answering import StudyAnswerer
from medvqa.batch.folder import BatchFolder
from medvqa.batch.preparing import FailedStudy, PreparedStudy, prepare_study
from medvqa.batch.reporting import finish_study
from medvqa.batch.rows import BROKEN, COLUMN, as_row, dump, load
from medvqa.errors import MedvqaError
from medvqa.reports import read_template
from medvqa.sessions import Session, join_session

if TYPE_CHECKING:
    from medvqa.batch.plan import Batch
    from medvqa.batch.sources import StudySource
    from medvqa.reports import Template


BREAKING = (MedvqaError, AuditError)
"""What ends a batch: the trail takes nothing, or a model cannot be loaded. It goes through the steps in place
of a study, since Ray loses what an error said that breaks one of its processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a process of a batch works at."""

    batch: Batch
    folder: BatchFolder
    lock: IO[str]
    session: Session
    template: Template | None


@cache
def open_place(batch: bytes) -> Place:
    """What this process works at; `batch` is a pickled `Batch`, here and below."""
    opened: Batch = load(batch)
    folder = BatchFolder(path=opened.folder)
    template = opened.settings.report_template
    return Place(
        batch=opened,
        folder=folder,
        lock=folder.join(),
        session=join_session(Log(opened.settings.audit_url), opened.settings),
        template=None if template is None else read_template(template),
    )


def read(row: dict[str, Any], batch: bytes) -> dict[str, Any]:
    """Read a study and decode what is asked about; one that failed before passes through."""
    source: StudySource | FailedStudy = load(row[COLUMN])
    if isinstance(source, FailedStudy):
        return row
    try:
        place = open_place(batch)
        return as_row(prepare_study(place.session, source, place.batch.questions))
    except BREAKING as error:
        return as_row(error)


class Answerer:
    """Answers what is asked about several studies: a process of Ray that holds the model."""

    _problem: Exception | None = None

    def __init__(self, batch: bytes, threads: int) -> None:
        """`threads` of the processor, for this process alone."""
        try:
            opened = open_place(batch).batch
            self._answerer = StudyAnswerer(opened.settings, threads=threads, studies=opened.together)
        except BREAKING as error:
            self._problem = error

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        """Take and give columns; what failed before passes through."""
        came = [load(one) for one in rows[COLUMN]]
        ended = np.empty(len(came), dtype=object)
        ended[:] = [dump(one) for one in self._answer(came)]
        return {COLUMN: ended}

    def _answer(self, came: list[Any]) -> list[Any]:
        if self._problem is not None:
            return [self._problem] * len(came)
        others = [one for one in came if not isinstance(one, PreparedStudy)]
        try:
            return [*others, *self._answerer.answer([one for one in came if isinstance(one, PreparedStudy)])]
        except BREAKING as error:
            return [error] * len(came)


def report(row: dict[str, Any], batch: bytes) -> dict[str, Any]:
    """Write a study's reports; what is left of it is how it ended, or why the batch cannot go on."""
    ended: Any = load(row[COLUMN])
    try:
        if isinstance(ended, Exception):
            raise ended
        place = open_place(batch)
        outcome = finish_study(
            place.session, place.folder, ended, forms=place.batch.forms, template=place.template
        )
    except BREAKING as error:
        return {"status": BROKEN, COLUMN: dump(error)}
    return {"status": outcome["status"], COLUMN: b""}
