"""Asking: gate, answer, explain, check, record."""

from __future__ import annotations

import time
import uuid
from datetime import UTC
from typing import TYPE_CHECKING, Any

from audit import Log
from medvqa.checks import check_answer
from medvqa.errors import DicomError, GateError
from medvqa.gate import check_image
from medvqa.heatmaps import HEATMAPS
from medvqa.models.huggingface import load_model
from medvqa.prompts import clean_question
from medvqa.records import ANSWERED, REFUSED, describe_answer, describe_request, record
from medvqa.settings import default_audit_url
from medvqa.types import Answer, Notice

if TYPE_CHECKING:
    from audit import Event
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import HeatmapMethod, Image, Study

__all__ = ["Assistant"]


class Assistant:
    """Answers questions about studies, and records each answer before it shows it.

    Args:
        model: What answers; the small default model if it is left out.
        audit: The trail; by default the SQLite file of this user.
        agent: Who asks: an identifier of a person or a program, never of a patient.
    """

    def __init__(
        self, model: HuggingFaceModel | None = None, *, audit: Log | None = None, agent: str = "medvqa"
    ) -> None:
        self.model = model or load_model()
        self.audit = audit or Log(default_audit_url())
        self._agent = agent

    def ask(
        self,
        study: Study,
        question: str,
        *,
        image_number: int | None = None,
        heatmap: HeatmapMethod | None = None,
    ) -> Answer:
        """Answer one question about one image of a study.

        Args:
            study: From `read_study`.
            question: In plain words.
            image_number: Which image, from 1; by default the middle one.
            heatmap: Also explain the answer by this method.

        Returns:
            The answer, once it is durable in the trail.

        Raises:
            DicomError: If the study has no image of that number, or its pixels cannot be decoded.
            GateError: If an answer about this image would mean nothing; the refusal is recorded.
            QuestionError: If the question is empty or too long.
            RecordError: If the trail did not take the event.
        """
        started = time.perf_counter()
        question = clean_question(question)
        image, chosen = _choose(study, image_number)
        answer_id = str(uuid.uuid4())
        request = describe_request(image, question, self.model.identity)
        try:
            noticed = check_image(image, modalities=self.model.modalities)
        except GateError as refusal:
            self._record(REFUSED, answer_id, {**request, "reason": str(refusal)})
            raise
        warnings = (*study.warnings, *chosen, *noticed)
        generation = self.model.generate(image, question)
        explained = HEATMAPS[heatmap](self.model, image, question, generation) if heatmap else None
        checks = check_answer(self.model, image, question, generation)
        outcome = describe_answer(generation, checks, explained, warnings)
        event = self._record(ANSWERED, answer_id, {**request, **outcome})
        return Answer(
            answer_id=answer_id,
            audit_id=event.sequence,
            question=question,
            text=generation.text,
            tokens=generation.tokens,
            image=image.ref,
            model=self.model.identity,
            checks=checks,
            heatmap=explained,
            warnings=warnings,
            created=event.recorded.astimezone(UTC),
            seconds=time.perf_counter() - started,
        )

    def _record(self, action: str, answer_id: str, entity: dict[str, Any]) -> Event:
        return record(self.audit, agent=self._agent, action=action, subject=answer_id, entity=entity)


def _choose(study: Study, image_number: int | None) -> tuple[Image, tuple[Notice, ...]]:
    """The image asked about, and a notice where the choice was not the asker's."""
    count = len(study.images)
    if image_number is not None:
        if not 1 <= image_number <= count:
            raise DicomError(f"the study has images 1 to {count}, not {image_number}")
        return study.images[image_number - 1], ()
    middle = count // 2
    notice = Notice(
        code="one_image_of_many",
        message=f"the answer looks at image {middle + 1} of {count} alone; name another with its number",
    )
    return study.images[middle], (notice,) if count > 1 else ()
