"""Tasks that are questions: answered, checked and recorded as any other."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from medvqa.tasks.results import Section, Statement, StudyReport

if TYPE_CHECKING:
    from medvqa.assistant import Assistant
    from medvqa.types import Answer, Study

DESCRIBE = "Describe the image."
"""Of a caption; the default model was trained to answer it in one sentence."""

_CAPTIONS: Mapping[str, str] = MappingProxyType(
    {
        # What Florence2Processor puts in place of <DETAILED_CAPTION>.
        "florence2": "Describe in detail what is shown in the image.",
        # https://huggingface.co/google/paligemma-3b-mix-224
        "paligemma": "caption en",
    }
)

SECTIONS = (
    ("Examination", "What imaging modality is this?"),
    ("Region", "Which organ is shown?"),
    ("Findings", DESCRIBE),
    ("Abnormality", "Is the image normal or abnormal?"),
    ("Impression", "What is the most likely finding?"),
)
"""Headings of a report, each with its question."""


def caption_question(model_type: str) -> str:
    """How a family, transformers' `model_type`, is asked for a caption."""
    return _CAPTIONS.get(model_type, DESCRIBE)


def ask_sections(
    assistant: Assistant, study: Study, *, image_number: int | None
) -> tuple[StudyReport, tuple[Answer, ...]]:
    """Ask every question of a report; what stops one stops all (errors as of `Assistant.ask`)."""
    answers = tuple(assistant.ask(study, question, image_number=image_number) for _, question in SECTIONS)
    sections = tuple(
        Section(heading=heading, statement=state(answer))
        for (heading, _), answer in zip(SECTIONS, answers, strict=True)
    )
    return StudyReport(sections=sections), answers


def state(answer: Answer) -> Statement:
    """An answer in short."""
    checks = answer.checks
    return Statement(
        question=answer.question,
        text=answer.text,
        answer_id=answer.answer_id,
        verdict=checks.verdict,
        abstains=checks.abstains,
        confidence=checks.confidence,
        confidence_calibrated=checks.confidence_calibrated,
    )
