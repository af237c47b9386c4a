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
    question: str
    image_number: int | None = None
    """From 1, in the study; None for the one in the middle."""
    heatmap: HeatmapMethod | None = None


def inquiries_of(questions: QuestionSet, study: Study) -> list[Inquiry]:
    """What a question set asks about a study, image by image; empty where nothing in it fits."""
    inquiries = [
        Inquiry(study=study, question=question.text, image_number=number, heatmap=question.heatmap)
        for question in questions.questions
        for number in images_asked_about(question, study)
    ]
    return sorted(inquiries, key=lambda inquiry: inquiry.image_number or 0)
