"""Inquiries: what is asked about which image of a study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medvqa.errors import DicomError
from medvqa.question_sets import images_asked_about
from medvqa.reading.stories import find_same

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medvqa.question_sets import QuestionSet
    from medvqa.reading.stories import Story
    from medvqa.types import HeatmapMethod, ModelIdentity, Study


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


def find_answer(inquiry: Inquiry, stories: Sequence[Story], model: ModelIdentity) -> Story | None:
    """The answer that a model gave to an inquiry; None where there is none, or no image to be decoded.

    Args:
        inquiry: About a study.
        stories: Of that study.
        model: That would be asked.
    """
    try:
        image = inquiry.study.images[inquiry.image_number - 1]
    except DicomError:
        return None
    return find_same(stories, image, inquiry.question, model)
