"""The assistant: a model at a trail, and who asks it."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from audit import Log
from medvqa import records
from medvqa.asking import Asking, Refusal, answer_together, explain_generation, refuse_to_send
from medvqa.errors import DicomError, GateError, ModelError, QuestionError
from medvqa.heatmaps import require_method
from medvqa.heatmaps.targets import ANSWER
from medvqa.inquiries import Inquiry
from medvqa.models.base import require_answers
from medvqa.models.loading import load_model
from medvqa.models.remote import RemoteModel
from medvqa.prompts import clean_question
from medvqa.reading import reviews, signatures
from medvqa.records import Agent, Request, record
from medvqa.sessions import Session, begin_session
from medvqa.settings import default_audit_url, default_key_folder
from medvqa.study import DEFAULT_LIMITS, Limits, read_study
from medvqa.types import Answer, Notice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from audit import Event
    from medvqa.checks.familiarity import Unfamiliar
    from medvqa.heatmaps.targets import Target
    from medvqa.models.base import VisionLanguageModel
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
        require_answers(self.model)
        number, chosen = choose_number(len(study.images), image_number)
        inquiry = Inquiry(study=study, image_number=number, question=question, heatmap=heatmap)
        asking = self._put(inquiry, notices=chosen)
        (ended,) = answer_together(self.audit, self.model, [asking], unfamiliar=self.unfamiliar)
        if isinstance(ended, Refusal):
            raise ended.error
        return ended

    def ask_all(self, inquiries: Iterable[Inquiry]) -> list[Answer | Refusal]:
        """Ask several questions, about one study or several; one refused leaves the others alone.

        They are answered as many at a time as the model reads together: faster than one by one, in the same
        words, with probabilities that differ by rounding.

        Returns:
            What came of each, in order.

        Raises:
            CancelledError: If whoever waits for it stopped it (`medvqa.long_work`); that is recorded.
            RecordError: If the trail did not take an event.
        """
        require_answers(self.model)
        asked = map(self.put, inquiries)
        return answer_together(self.audit, self.model, asked, unfamiliar=self.unfamiliar)

    def put(self, inquiry: Inquiry) -> Asking | Refusal:
        """An inquiry on its way, with its image, for `medvqa.asking.answer_together`.

        Raises:
            RecordError: If its image cannot be decoded, and the trail did not take that.
        """
        try:
            return self._put(inquiry)
        except (DicomError, QuestionError) as error:
            return Refusal(error=error)

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
            refuse_to_send(self.model, study)
        except GateError as refusal:
            record(self.audit, records.refuse(self.session.agent, request, reason=str(refusal)))
            raise
        require_method(method, self.model)
        generation = self.model.generate(image, answer.question)
        said = answer.text if isinstance(answer, Answer) else answer.answered.entity["answer"]
        if isinstance(self.model, RemoteModel) and generation.text != said:
            raise ModelError("the server gives another answer now than was recorded; ask the question again")
        heatmap = explain_generation(self.model, request, generation, method, target)
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

    def _put(self, inquiry: Inquiry, *, notices: tuple[Notice, ...] = ()) -> Asking:
        """An inquiry with its image.

        Raises:
            DicomError, QuestionError: As `ask`.
        """
        question = clean_question(inquiry.question)
        patient = self.session.pseudonym_of(inquiry.study)
        image, _ = self.choose(inquiry.study, inquiry.image_number, question=question, patient=patient)
        request = Request(
            answer_id=str(uuid.uuid4()),
            patient=patient,
            image=image,
            question=question,
            model=self.model.identity,
        )
        return Asking(
            by=self.agent,
            study=inquiry.study,
            request=request,
            heatmap=inquiry.heatmap,
            warnings=(*inquiry.study.warnings, *notices),
        )

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
