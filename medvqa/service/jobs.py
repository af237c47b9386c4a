"""Jobs: question sets about many images, asked between the questions of those who wait for an answer."""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, cast

from audit import AuditError
from medvqa.errors import BatchError, DicomError, MedvqaError, RecordError
from medvqa.inquiries import inquiries_of
from medvqa.question_sets import read_question_set
from medvqa.service.desk import UPLOAD_LIMITS
from medvqa.service.job_store import Planned
from medvqa.service.problems import RequestError, as_request_error
from medvqa.study import list_studies, read_study

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from medvqa.service.desk import Desk, Posed, Words
    from medvqa.service.job_store import Job, JobStore
    from medvqa.service.turns import Came, Turns
    from medvqa.types import HeatmapMethod

_TOGETHER = 4
"""Questions of a job that wait at the model at once: whoever asks meanwhile has a place among them."""
_AGAIN_S = 2.0
"""Until something is tried again that may do later."""
_LOG = logging.getLogger(__name__)


class JobRunner:
    """Does one job after the other in a thread of its own, beginning with what an earlier server left.

    A question whose answer the trail has is not asked again, though the server was killed between the two.
    """

    def __init__(self, store: JobStore, desk: Desk, turns: Turns[Posed | Words]) -> None:
        self.store = store
        self._desk = desk
        self._turns = turns
        self._ending, self._news = Event(), Event()
        self._thread = Thread(target=self._run, name="jobs", daemon=True)

    def start(self) -> None:
        """Begin with what waits."""
        self._thread.start()

    def look(self) -> None:
        """There is a new job."""
        self._news.set()

    def close(self) -> None:
        """Finish what is at the model, and leave the rest for the next server."""
        self._ending.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join()
        self.store.close()

    def _run(self) -> None:
        while not self._ending.is_set():
            self._news.clear()
            job = self.store.next()
            if job is None:
                self._news.wait()
                continue
            try:
                self._do(job)
            except (RecordError, AuditError) as error:
                _LOG.warning("a job waits, for the trail takes nothing: %s", error)
                self._ending.wait(_AGAIN_S)
            except Exception as error:  # a job must not keep the others from being done
                if self._ending.is_set():
                    return
                told = as_request_error(error)
                _LOG.warning("a job failed: %s", type(error).__name__)
                self.store.enter(job, "failed", problem=told.message)

    def _do(self, job: Job) -> None:
        if not self.store.enter(job, "running"):
            return
        if job.questions is None:
            self._plan(job)
        for (source, study), planned in itertools.groupby(
            self.store.pending(job), lambda one: (one.source, one.study)
        ):
            path = self.store.folder_of(job) / source
            if not self._ask(job, path, study, list(planned)):
                return
        self.store.enter(job, "done")

    def _plan(self, job: Job) -> None:
        folder = self.store.folder_of(job)
        questions = read_questions(folder)
        planned: list[Planned] = []
        for source, uid in find_studies(folder / "studies"):
            study = read_study(source, limits=UPLOAD_LIMITS, study_instance_uid=uid)
            planned += [
                Planned(
                    number=0,
                    source=str(source.relative_to(folder)),
                    study=uid,
                    image_number=inquiry.image_number,
                    text=inquiry.question,
                    heatmap=inquiry.heatmap,
                )
                for inquiry in inquiries_of(questions, study)
            ]
        if not planned:
            raise BatchError("nothing in the question set fits an image that was sent; change one of them")
        self.store.plan(job, [replace(one, number=number) for number, one in enumerate(planned, 1)])

    def _ask(self, job: Job, path: Path, uid: str, planned: Sequence[Planned]) -> bool:
        """Ask about one study; False where the job or the service is to end before that is done."""
        study = self._desk.open(job.caller, path, study_instance_uid=uid)
        for start in range(0, len(planned), _TOGETHER):
            asked: list[tuple[Planned, Came | Future[Came]]] = []
            for one in planned[start : start + _TOGETHER]:
                found = self.store.find(job.job_id)
                if self._ending.is_set() or found is None or found.state != "running":
                    break
                heatmap = cast("HeatmapMethod | None", one.heatmap)
                posed = self._desk.pose(
                    job.caller, study, one.text, image_number=one.image_number, heatmap=heatmap
                )
                known = self._desk.recall(posed)
                asked.append((one, self._submit(posed) if known is None else known))
            for one, came in asked:
                self.store.keep(job, one, _told(one, came))
            if len(asked) < len(planned[start : start + _TOGETHER]):
                return False
        return True

    def _submit(self, posed: Posed) -> Future[Came]:
        """Wait for a place among those who wait."""
        while True:
            try:
                return self._turns.submit(posed)
            except RequestError:
                if self._ending.wait(_AGAIN_S):
                    raise


def _told(planned: Planned, came: Came | Future[Came]) -> dict[str, Any]:
    """What came of a question, as the result has it.

    Raises:
        RecordError, AuditError: If nothing could be recorded, so that it is to be asked again.
    """
    told: dict[str, Any] = {
        "study_instance_uid": planned.study,
        "image_number": planned.image_number,
        "question": planned.text,
        "answer": None,
        "error": None,
    }
    if isinstance(came, dict):
        return {**told, "answer": came}
    try:
        return {**told, "answer": came.result()}
    except (RecordError, AuditError):
        raise
    except (MedvqaError, RequestError) as error:
        return {**told, **as_request_error(error).body}


def read_questions(folder: Path) -> Any:
    """The question set of a job's folder.

    Raises:
        BatchError: If it is none; the message names no folder of this machine.
    """
    (path,) = folder.glob("questions.*")
    try:
        return read_question_set(path)
    except BatchError as error:
        raise BatchError(str(error).replace(str(path), "that was sent")) from error


def find_studies(folder: Path) -> Iterator[tuple[Path, str]]:
    """Where each study of a job lies, an archive or the folder of loose files, and its UID.

    Raises:
        DicomError: If there is none.
        LimitError: If there is too much.
    """
    found = False
    for path in (*sorted(folder.glob("archive*")), folder / "loose"):
        for uid in list_studies(path, limits=UPLOAD_LIMITS) if path.exists() else ():
            found = True
            yield path, uid
    if not found:
        raise DicomError("nothing that was sent is an image; send DICOM, PNG or JPEG files, or a ZIP of them")
