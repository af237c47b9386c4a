"""The second step of a batch: the model answers what is asked about several studies together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from audit import Log
from medvqa.asking import Refusal
from medvqa.assistant import Assistant
from medvqa.batch.preparing import FailedStudy, PreparedStudy
from medvqa.errors import CancelledError, RecordError
from medvqa.inquiries import find_answer
from medvqa.models.base import is_open
from medvqa.opening import named_model, open_model
from medvqa.reading.stories import read_stories
from medvqa.records import open_study, record
from medvqa.reports import remake_heatmaps

if TYPE_CHECKING:
    from medvqa.batch.sources import StudySource
    from medvqa.settings import Settings
    from medvqa.types import Answer, Heatmap, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedQuestion:
    """A question of the set that got no answer."""

    question: str
    image_number: int
    """From 1."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredStudy:
    """What came of a study's questions; the answers are in the trail."""

    source: StudySource
    study: Study
    """As it came to the model."""
    answer_ids: tuple[str, ...]
    """In order of the questions, without those refused."""
    refused: tuple[RefusedQuestion, ...]
    heatmaps: Mapping[str, Heatmap] = field(default_factory=dict[str, "Heatmap"])
    """By the id of their answer."""
    reused: int = 0
    """Answers that the trail had already."""


class StudyAnswerer:
    """A loaded model at the trail: what one process of a batch holds.

    Args:
        settings: Which model, trail and agent.
        threads: Of the processor; for this process alone.
        studies: How many are answered together.
    """

    def __init__(self, settings: Settings, *, threads: int, studies: int) -> None:
        torch.set_num_threads(threads)
        model = open_model(named_model(settings))
        if is_open(model):
            model.images_together = studies
        self._assistant = Assistant(
            model,
            audit=Log(settings.audit_url),
            agent=settings.agent,
            role=settings.role,
            key_folder=settings.key_folder,
            unfamiliar=settings.unfamiliar,
        )

    def answer(self, prepared: Sequence[PreparedStudy]) -> list[AnsweredStudy | FailedStudy]:
        """Answer what is asked about each study and has no answer in the trail.

        Where one study breaks the model, the others are asked again without it.

        Raises:
            RecordError: If the trail did not take an event.
        """
        if not prepared:
            return []
        try:
            return [*self._answer(prepared)]
        except (RecordError, CancelledError):
            raise
        except Exception as error:
            if len(prepared) > 1:
                return [ended for one in prepared for ended in self.answer([one])]
            # Its text may quote anything, so its kind alone is told.
            reason = f"the model broke off on this study ({type(error).__name__}); see the trail"
            return [FailedStudy(source=prepared[0].source, reason=reason)]

    def _answer(self, prepared: Sequence[PreparedStudy]) -> list[AnsweredStudy]:
        known = [self._find_answers(one) for one in prepared]
        self._record_opening(prepared)
        asked = [
            inquiry
            for one, found in zip(prepared, known, strict=True)
            for inquiry, answer_id in zip(one.inquiries, found, strict=True)
            if answer_id is None
        ]
        came = iter(self._assistant.ask_all(asked))
        return [
            self._gather(one, [end or next(came) for end in found])
            for one, found in zip(prepared, known, strict=True)
        ]

    def _record_opening(self, prepared: Sequence[PreparedStudy]) -> None:
        by, session = self._assistant.agent, self._assistant.session
        record(
            session.log,
            *(
                open_study(
                    by, one.study, patient=session.pseudonym_of(one.study), options={"source": "batch"}
                )
                for one in prepared
            ),
        )

    def _find_answers(self, prepared: PreparedStudy) -> list[str | None]:
        """The id of the answer to each question, as far as the trail has it from this model."""
        stories = read_stories(self._assistant.audit, study=prepared.study.study_instance_uid)
        if not stories:
            return [None] * len(prepared.inquiries)
        model = self._assistant.model.identity
        found = [find_answer(inquiry, stories, model) for inquiry in prepared.inquiries]
        return [None if story is None else story.answer_id for story in found]

    def _gather(self, prepared: PreparedStudy, ends: Sequence[str | Answer | Refusal]) -> AnsweredStudy:
        """`ends` are ids of answers that were known, or what came of asking."""
        heatmaps = {
            end.answer_id: end.heatmap
            for end in ends
            if not isinstance(end, Refusal | str) and end.heatmap is not None
        }
        reused = sum(isinstance(end, str) for end in ends)
        if reused and any(one.heatmap for one in prepared.inquiries):
            # The trail keeps answers, but of heatmaps their digests alone.
            heatmaps = {**remake_heatmaps(self._assistant, prepared.study), **heatmaps}
        return AnsweredStudy(
            source=prepared.source,
            study=prepared.study,
            answer_ids=tuple(
                end if isinstance(end, str) else end.answer_id for end in ends if not isinstance(end, Refusal)
            ),
            refused=tuple(
                RefusedQuestion(
                    question=inquiry.question, image_number=inquiry.image_number, reason=end.reason
                )
                for inquiry, end in zip(prepared.inquiries, ends, strict=True)
                if isinstance(end, Refusal)
            ),
            heatmaps=heatmaps,
            reused=reused,
        )
