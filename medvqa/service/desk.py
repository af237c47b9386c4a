"""Where questions of all callers meet one model: each caller at the trail under their own name."""

from __future__ import annotations

import base64
import uuid
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING

from medvqa import records
from medvqa.answers_as_json import describe
from medvqa.asking import Refusal, answer_together
from medvqa.assistant import Assistant, choose_number, record_opening
from medvqa.errors import ModelError, QuestionError, StoppedError
from medvqa.inquiries import Inquiry
from medvqa.models.base import is_open
from medvqa.prompts import clean_question
from medvqa.records import Prompt, record
from medvqa.service.problems import RequestError
from medvqa.service.recalling import Recall
from medvqa.service.turns import TOGETHER, Came
from medvqa.stopping import require_running
from medvqa.study import Limits, read_study
from medvqa.types import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from audit import Log
    from medvqa.models.base import VisionLanguageModel
    from medvqa.service.callers import Caller
    from medvqa.service.metrics import Metrics
    from medvqa.settings import Settings
    from medvqa.types import HeatmapMethod, Study, WindowName

UPLOAD_LIMITS = Limits(files=5000, file_bytes=1 << 29, archive_bytes=4 << 30)
"""Of what a caller sends: members of an archive are read into memory."""
_ASSISTANTS = 256
"""Callers that are remembered; for any other a session begins again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posed:
    """One question of one caller, ready to be put to the model."""

    assistant: Assistant
    inquiry: Inquiry


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Words of one caller, to be put to the model without an image."""

    caller: Caller
    text: str


class Desk:
    """One model and one trail, for all callers.

    Args:
        model: What answers, one batch at a time: see `medvqa.service.turns`.
        log: The trail.
        settings: Where keys of pseudonyms lie, and what becomes of unfamiliar images.
        metrics: What is counted.
    """

    def __init__(self, model: VisionLanguageModel, *, log: Log, settings: Settings, metrics: Metrics) -> None:
        self.log = log
        self._model = model
        if is_open(model):
            model.images_together = TOGETHER
        self._settings = settings
        self._metrics = metrics
        self._recall = Recall()
        self._assistants: OrderedDict[Caller, Assistant] = OrderedDict()
        self._beginning = Lock()

    def assistant_of(self, caller: Caller) -> Assistant:
        """The model, asked in a caller's name; that the caller begins is recorded.

        Raises:
            RecordError, AuditError: If trail or key are of no use.
        """
        with self._beginning:
            if caller not in self._assistants:
                self._assistants[caller] = Assistant(
                    self._model,
                    audit=self.log,
                    agent=caller.name,
                    role=self._settings.role if caller.through == "local" else caller.role,
                    key_folder=self._settings.key_folder,
                    unfamiliar=self._settings.unfamiliar,
                )
                if len(self._assistants) > _ASSISTANTS:
                    self._assistants.popitem(last=False)
            self._assistants.move_to_end(caller)
            return self._assistants[caller]

    def open(
        self,
        caller: Caller,
        upload: Path,
        *,
        window: WindowName | None = None,
        study_instance_uid: str | None = None,
    ) -> Study:
        """Read a study that a caller sent, and record that it was read.

        Raises:
            DicomError, LimitError: As `medvqa.read_study`.
            RecordError, AuditError: If the trail did not take it.
        """
        session = self.assistant_of(caller).session
        study = read_study(upload, window=window, limits=UPLOAD_LIMITS, study_instance_uid=study_instance_uid)
        record_opening(session, study, source="service", window=window)
        return study

    def pose(
        self,
        caller: Caller,
        study: Study,
        question: str,
        *,
        image_number: int | None,
        heatmap: HeatmapMethod | None,
    ) -> Posed:
        """Say which image is asked about; where the caller did not, the answer warns of it.

        Raises:
            DicomError: If there is no image of that number.
            QuestionError: If the question is none.
        """
        question = clean_question(question)
        number, chosen = choose_number(len(study.images), image_number)
        shown = replace(study, warnings=(*study.warnings, *chosen))
        inquiry = Inquiry(study=shown, image_number=number, question=question, heatmap=heatmap)
        return Posed(assistant=self.assistant_of(caller), inquiry=inquiry)

    def recall(self, posed: Posed) -> Came | None:
        """The answer that was given to the same before, as JSON; None where there is none."""
        found = self._recall.find(posed.assistant, posed.inquiry)
        if found is not None:
            self._metrics.recalled.inc()
        return found

    def take(self, batch: Sequence[Posed | Words]) -> list[Came | Exception]:
        """Put all of a batch to the model together, each recorded in its caller's name.

        Returns:
            What came of each, in order: an answer or a reply as JSON, or why there is none.
        """
        self._metrics.together.observe(len(batch))
        posed = {place: one for place, one in enumerate(batch) if isinstance(one, Posed)}
        came: dict[int, Came | Exception] = {}
        try:
            answers = answer_together(
                self.log,
                self._model,
                [one.assistant.put(one.inquiry) for one in posed.values()],
                unfamiliar=self._settings.unfamiliar,
            )
            came |= {place: self._tell(one) for place, one in zip(posed, answers, strict=True)}
        except Exception as error:  # those who wait for words go on
            came |= dict.fromkeys(posed, error)
        for place, one in enumerate(batch):
            if isinstance(one, Words):
                try:
                    came[place] = self._reply(one.caller, one.text)
                except Exception as error:  # as above
                    came[place] = error
        return [came[place] for place in range(len(batch))]

    def _reply(self, caller: Caller, words: str) -> Came:
        """What the model says to words without an image, as JSON; recorded, and no answer about any image.

        Raises:
            QuestionError: If the words are none for it, or it reads none without an image.
            StoppedError: If answering was stopped.
            RecordError: If the trail did not take it.
        """
        by = self.assistant_of(caller).agent
        spoken = Prompt(reply_id=str(uuid.uuid4()), words=clean_question(words), model=self._model.identity)
        record(self.log, records.prompt(by, spoken))
        try:
            require_running(self.log, None)
            if not is_open(self._model):
                raise QuestionError("this model answers about images alone; send one with the prompt")
            came = self._model.reply(spoken.words)
        except (ModelError, QuestionError, StoppedError) as refusal:
            record(self.log, records.reply(by, spoken, str(refusal)))
            self._metrics.refusals.inc()
            if isinstance(refusal, ModelError):  # it is what was asked that does not fit
                raise QuestionError(str(refusal)) from refusal
            raise
        (event,) = record(self.log, records.reply(by, spoken, came))
        return {"reply_id": spoken.reply_id, "audit_id": event.sequence, "text": came.text}

    def _tell(self, came: Answer | Refusal) -> Came | RequestError:
        if isinstance(came, Refusal):
            self._metrics.refusals.inc()
            return RequestError(status=422, kind="Refused", message=came.reason)
        self._metrics.answers.labels(came.checks.verdict).inc()
        return {**tell_with_map(came), "recalled": None}


def tell_with_map(answer: Answer) -> Came:
    """An answer as JSON, its heatmap drawn over the image as a PNG in a `data:` URL (RFC 2397)."""
    described = describe(answer)
    if answer.heatmap is not None:
        with TemporaryDirectory(prefix="medvqa-") as folder:
            overlay = Path(folder) / "overlay.png"
            answer.heatmap.save(overlay)
            picture = base64.b64encode(overlay.read_bytes()).decode()
        described["heatmap"]["overlay"] = f"data:image/png;base64,{picture}"
    return described
