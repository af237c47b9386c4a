"""Inquiries: many questions at once, about one study or several, each with its own end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medvqa.errors import DicomError, GateError, QuestionError
from medvqa.question_sets import images_asked_about

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medvqa.assistant import Assistant
    from medvqa.question_sets import QuestionSet
    from medvqa.types import Answer, HeatmapMethod, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """One question to be asked about one image."""

    study: Study
    image_number: int
    """From 1, in the study."""
    question: str
    heatmap: HeatmapMethod | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a question got no answer; the trail has it too."""

    reason: str
    """One sentence for a person, without patient attributes."""


def inquiries_of(questions: QuestionSet, study: Study) -> list[Inquiry]:
    """What a question set asks about a study, question by question; empty where nothing in it fits."""
    return [
        Inquiry(study=study, image_number=number, question=question.text, heatmap=question.heatmap)
        for question in questions.questions
        for number in images_asked_about(question, study)
    ]


def ask_together(assistant: Assistant, inquiries: Sequence[Inquiry]) -> list[Answer | Refusal]:
    """Ask each as `Assistant.ask` does; one that is refused does not keep the others from their answers.

    Returns:
        What came of each, in order.

    Raises:
        CancelledError: If whoever waits for it stopped it.
        RecordError: If the trail did not take an event.
    """
    return [_ask(assistant, inquiry) for inquiry in inquiries]


def _ask(assistant: Assistant, inquiry: Inquiry) -> Answer | Refusal:
    try:
        return assistant.ask(
            inquiry.study, inquiry.question, image_number=inquiry.image_number, heatmap=inquiry.heatmap
        )
    except (DicomError, GateError, QuestionError) as error:
        return Refusal(reason=str(error))
