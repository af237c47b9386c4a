"""Inquiries: what is asked about which image of a study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medvqa.question_sets import images_asked_about

if TYPE_CHECKING:
    from medvqa.question_sets import QuestionSet
    from medvqa.types import HeatmapMethod, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """One question to be asked about one image."""

    study: Study
    image_number: int
    """From 1, in the study."""
    question: str
    heatmap: HeatmapMethod | None = None


def inquiries_of(questions: QuestionSet, study: Study) -> list[Inquiry]:
    """What a question set asks about a study, image by image; empty where nothing in it fits."""
    inquiries = [
        Inquiry(study=study, image_number=number, question=question.text, heatmap=question.heatmap)
        for question in questions.questions
        for number in images_asked_about(question, study)
    ]
    return sorted(inquiries, key=lambda inquiry: inquiry.image_number)
