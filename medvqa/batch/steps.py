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
from medvqa.batch.rows import COLUMN, as_row, dump, load
from medvqa.errors import MedvqaError
from medvqa.reports import read_template
from medvqa.sessions import Session, join_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from medvqa.batch.answering import AnsweredStudy
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


def step(work: Callable[[Any, Place], object]) -> Callable[[dict[str, Any], bytes], dict[str, Any]]:
    """Make a function of what a row holds a step: what ends the batch goes through it, whoever raised it."""

    def take(row: dict[str, Any], batch: bytes) -> dict[str, Any]:
        came = load(row[COLUMN])
        if isinstance(came, Exception):
            return row
        try:
            return as_row(work(came, open_place(batch)))
        except BREAKING as error:
            return as_row(error)

    return take


@step
def read(source: StudySource | FailedStudy, place: Place) -> PreparedStudy | FailedStudy:
    """Read a study and decode what is asked about; one that failed before passes through."""
    if isinstance(source, FailedStudy):
        return source
    return prepare_study(place.session, source, place.batch.questions)


class Answerer:
    """Answers what is asked about several studies: a process of Ray that holds the model."""

    def __init__(self, batch: bytes, threads: int) -> None:
        """`threads` of the processor, for this process alone."""
        self._answerer: StudyAnswerer | Exception
        try:
            opened = open_place(batch).batch
            self._answerer = StudyAnswerer(opened.settings, threads=threads, studies=opened.together)
        except BREAKING as error:
            self._answerer = error

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        """Take and give columns; what failed before passes through."""
        came = [load(one) for one in rows[COLUMN]]
        ended = np.empty(len(came), dtype=object)
        ended[:] = [dump(one) for one in self._answer(came)]
        return {COLUMN: ended}

    def _answer(self, came: list[Any]) -> list[Any]:
        if isinstance(self._answerer, Exception):
            return [self._answerer] * len(came)
        others = [one for one in came if not isinstance(one, PreparedStudy)]
        try:
            return [*others, *self._answerer.answer([one for one in came if isinstance(one, PreparedStudy)])]
        except BREAKING as error:
            return [error] * len(came)


@step
def report(ended: AnsweredStudy | FailedStudy, place: Place) -> str:
    """Write a study's reports; what is left of it is its status."""
    outcome = finish_study(
        place.session, place.folder, ended, forms=place.batch.forms, template=place.template
    )
    return outcome["status"]
