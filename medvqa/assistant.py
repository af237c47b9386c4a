"""Asking: record the question, gate, answer, explain, check, record the answer."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from audit import Log
from medvqa import records
from medvqa.checks import check_answer
from medvqa.checks.faithfulness import with_grade
from medvqa.checks.familiarity import check_familiarity
from medvqa.errors import DicomError, GateError, ModelError, QuestionError
from medvqa.gate import check_image, check_leaving
from medvqa.heatmaps import make_heatmap, require_method
from medvqa.heatmaps.targets import ANSWER, scalar_of
from medvqa.long_work import enter
from medvqa.models.base import is_open, require_answers
from medvqa.models.loading import load_model
from medvqa.models.remote import RemoteModel
from medvqa.prompts import clean_question
from medvqa.reading import reviews, signatures
from medvqa.records import Agent, Outcome, Request, record
from medvqa.sessions import Session, begin_session
from medvqa.settings import default_audit_url, default_key_folder
from medvqa.stopping import require_running
from medvqa.study import DEFAULT_LIMITS, Limits, read_study
from medvqa.types import Answer, Notice

if TYPE_CHECKING:
    from audit import Event
    from medvqa.checks.familiarity import Unfamiliar
    from medvqa.heatmaps.targets import Target
    from medvqa.models.base import Generation, VisionLanguageModel
    from medvqa.reading.stories import Story
    from medvqa.types import Heatmap, HeatmapMethod, Image, ReviewVerdict, Study, WindowName

__all__ = ["Assistant", "choose_number", "open_study", "record_opening"]


class Assistant:
    """Answers questions about studies; whatever it does is in the trail before it shows.

    Args:
        model: What answers; the small default model if it is left out.
        audit: The trail; by default the SQLite file of this user.
        agent: Who asks: an identifier of a person or a program, never of a patient.
        role: In which role.
        key_folder: Where the key of patients' pseudonyms is; by default this user's folder of keys.
        unfamiliar: Whether an image unlike anything in training is refused, or answered about with a warning.

    Raises:
        ModelError: If there is no model given and the default one cannot be loaded.
        RecordError: If the trail did not take it, or names patients by a key that is missing.
        AuditError: If trail or key cannot be read.
    """

    def __init__(
        self,
        model: VisionLanguageModel | None = None,
        *,
        audit: Log | None = None,
        agent: str = "medvqa",
        role: str | None = None,
        key_folder: Path | None = None,
        unfamiliar: Unfamiliar = "refuse",
    ) -> None:
        self.unfamiliar: Unfamiliar = unfamiliar
        self.audit = audit or Log(default_audit_url())
        self.session = begin_session(
            self.audit, Agent(name=agent, role=role), key_folder=key_folder or default_key_folder()
        )
        self.model: VisionLanguageModel = model or load_model()
        record(self.audit, records.load_model(self.session.agent, self.model.identity))

    @property
    def agent(self) -> Agent:
        """Who asks."""
        return self.session.agent

    def open_study(
        self,
        path: str | Path,
        *,
        window: WindowName | None = None,
        limits: Limits = DEFAULT_LIMITS,
        study_instance_uid: str | None = None,
    ) -> Study:
        """Read a study and record that it was read; see `medvqa.read_study` for arguments and errors.

        Raises:
            RecordError: If the trail did not take the event.
        """
        return open_study(
            self.session, path, window=window, limits=limits, study_instance_uid=study_instance_uid
        )

    def ask(
        self,
        study: Study,
        question: str,
        *,
        image_number: int | None = None,
        heatmap: HeatmapMethod | None = None,
    ) -> Answer:
        """Answer one question about one image of a study.

        The question is durable in the trail before the model sees it, and so is the answer before it returns.

        Args:
            study: From `open_study` or `read_study`.
            question: In plain words.
            image_number: Which image, from 1; by default the middle one.
            heatmap: Also explain the answer by this method.

        Raises:
            DicomError: If the study has no image of that number, or its pixels cannot be decoded.
            GateError: If an answer about this image would mean nothing; the refusal is recorded.
            QuestionError: If the question is empty or too long.
            CancelledError: If whoever waits for it stopped it (`medvqa.long_work`); that is recorded.
            RecordError: If the trail did not take an event.
        """
        started = time.perf_counter()
        require_answers(self.model)
        question = clean_question(question)
        patient = self.session.pseudonym_of(study)
        image, chosen = self.choose(study, image_number, question=question, patient=patient)
        request = Request(
            answer_id=str(uuid.uuid4()),
            patient=patient,
            image=image,
            question=question,
            model=self.model.identity,
        )
        came = self._answer(request, study, heatmap, warnings=(*study.warnings, *chosen))
        event = self._record_outcome(request, came)
        return Answer(
            answer_id=request.answer_id,
            audit_id=event.sequence,
            question=question,
            text=came.generation.text,
            tokens=came.generation.tokens,
            image=image.ref,
            model=request.model,
            checks=came.checks,
            heatmap=came.heatmap,
            warnings=came.warnings,
            created=event.recorded,
            seconds=time.perf_counter() - started,
        )

    def explain(
        self,
        answer: Answer | Story,
        study: Study,
        image: Image,
        method: HeatmapMethod,
        *,
        target: Target = ANSWER,
    ) -> Heatmap:
        """Explain an answer by one more heatmap, graded and recorded.

        Args:
            answer: From `ask`, or as the trail tells its story; given by this model.
            study: The one that was asked about.
            image: Of the study, the one that was asked about.
            method: How to explain it.
            target: The whole answer, one word of it, or why it rather than another.

        Raises:
            GateError: If the model is on a server, and the study may tell who the patient is.
            ModelError: If the model is on a server, and answers not at all or otherwise than before, or the
                method or target is none for it.
            QuestionError: If `target` does not fit the answer.
            RecordError: If the trail did not take the event.
        """
        request = Request(
            answer_id=answer.answer_id,
            patient=self.session.pseudonym_of(study),
            image=image,
            question=answer.question,
            model=self.model.identity,
        )
        try:
            self._check_leaving(study)
        except GateError as refusal:
            record(self.audit, records.refuse(self.session.agent, request, reason=str(refusal)))
            raise
        require_method(method, self.model)
        generation = self.model.generate(image, answer.question)
        said = answer.text if isinstance(answer, Answer) else answer.answered.entity["answer"]
        if isinstance(self.model, RemoteModel) and generation.text != said:
            raise ModelError("the server gives another answer now than was recorded; ask the question again")
        heatmap = self._explain(request, generation, method, target)
        record(self.audit, records.explain(self.session.agent, request, heatmap))
        return heatmap

    def review(
        self,
        answer_id: str,
        *,
        verdict: ReviewVerdict,
        text: str | None = None,
        reviewer: str | None = None,
        seconds: float | None = None,
    ) -> Event:
        """Record what a person makes of an answer; see `medvqa.reading.reviews`."""
        return reviews.review(
            self.session, answer_id, verdict=verdict, text=text, reviewer=reviewer, seconds=seconds
        )

    def sign(self, answer_id: str, *, meaning: str, signer: str | None = None) -> Event:
        """Record a signature on the last review of an answer; see `medvqa.reading.signatures`."""
        return signatures.sign(self.session, answer_id, meaning=meaning, signer=signer)

    def _answer(
        self,
        request: Request,
        study: Study,
        heatmap: HeatmapMethod | None,
        *,
        warnings: tuple[Notice, ...],
    ) -> Outcome:
        """Gate, answer, explain and check, between the record of the question and that of the outcome."""
        by, image, question = self.session.agent, request.image, request.question
        record(self.audit, records.ask(by, request, heatmap=heatmap))
        try:
            require_running(self.audit, request.image.ref.study_instance_uid)
            sent = self._check_leaving(study)
            if heatmap is not None:
                require_method(heatmap, self.model)
            noticed = check_image(image, modalities=self.model.modalities)
            strange = check_familiarity(self.model, image, unfamiliar=self.unfamiliar)
            enter("Answering")
            generation = self.model.generate(image, question)
            explained = self._explain(request, generation, heatmap) if heatmap else None
            enter("Checking the answer")
            checks = check_answer(self.model, image, question, generation, familiar=not strange)
        except (GateError, QuestionError) as refusal:
            record(self.audit, records.refuse(by, request, reason=str(refusal)))
            raise
        except Exception as error:
            record(self.audit, records.fail(by, request, error))
            raise
        return Outcome(
            generation=generation,
            checks=checks,
            heatmap=explained,
            warnings=(*warnings, *sent, *noticed, *strange),
        )

    def _check_leaving(self, study: Study) -> tuple[Notice, ...]:
        """Refuse to send a study that may tell who the patient is; else a notice of what is sent.

        Raises:
            GateError: If so.
        """
        if not isinstance(self.model, RemoteModel):
            return ()
        if not self.model.identified:
            check_leaving(study)
        return (self.model.notice,)

    def _explain(
        self, request: Request, generation: Generation, method: HeatmapMethod, target: Target = ANSWER
    ) -> Heatmap:
        """Map and grade."""
        asked = self.model, request.image, request.question, generation
        enter(f"Making the {method.replace('_', ' ')} map")
        heatmap = make_heatmap(method, *asked, target=target)
        if target != ANSWER and is_open(self.model):
            heatmap = replace(heatmap, part=scalar_of(target, self.model, generation).formula)
        enter("Grading the map")
        return with_grade(*asked, heatmap, target=target)

    def _record_outcome(self, request: Request, came: Outcome) -> Event:
        """Answer and heatmap at once, so that there is never one without the other."""
        entries = [records.answer(self.session.agent, request, came)]
        if came.heatmap is not None:
            entries.append(records.explain(self.session.agent, request, came.heatmap))
        return record(self.audit, *entries)[0]

    def choose(
        self, study: Study, image_number: int | None, *, question: str, patient: str | None
    ) -> tuple[Image, tuple[Notice, ...]]:
        """The image asked about, and a notice where the choice was not the asker's.

        Args:
            study: From `open_study` or `read_study`.
            image_number: Which image, from 1; by default the middle one.
            question: What was asked; recorded where the image cannot be decoded.
            patient: Pseudonym.

        Raises:
            DicomError: As `ask`; that an image cannot be decoded is recorded.
            RecordError: If the trail did not take that.
        """
        number, chosen = choose_number(len(study.images), image_number)
        try:
            return study.images[number - 1], chosen
        except DicomError as error:
            failure = records.fail_to_decode(
                self.session.agent,
                study,
                patient=patient,
                question=question,
                image_number=number,
                error=error,
            )
            record(self.audit, failure)
            raise


def open_study(
    session: Session,
    path: str | Path,
    *,
    window: WindowName | None = None,
    limits: Limits = DEFAULT_LIMITS,
    study_instance_uid: str | None = None,
) -> Study:
    """Read a study, before there is a model, and record that it was read; see `Assistant.open_study`."""
    study = read_study(path, window=window, limits=limits, study_instance_uid=study_instance_uid)
    record_opening(session, study, source="folder" if Path(path).is_dir() else "file", window=window)
    return study


def record_opening(session: Session, study: Study, *, source: str, window: WindowName | None = None) -> None:
    """Record that somebody opened a study, wherever it was read; `source` says whence it came."""
    options = {"source": source, "window": window}
    patient = session.pseudonym_of(study)
    record(session.log, records.open_study(session.agent, study, patient=patient, options=options))


def choose_number(count: int, image_number: int | None) -> tuple[int, tuple[Notice, ...]]:
    """Which of `count` images is meant, from 1, and a notice where that was not said: it is the middle one.

    Raises:
        DicomError: If there is no image of that number.
    """
    if image_number is not None:
        if not 1 <= image_number <= count:
            raise DicomError(f"the study has images 1 to {count}, not {image_number}")
        return image_number, ()
    middle = count // 2 + 1
    notice = Notice(
        code="one_image_of_many",
        message=f"the answer looks at image {middle} of {count} alone; name another with its number",
    )
    return middle, (notice,) if count > 1 else ()
