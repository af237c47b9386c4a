"""Several models or adapters asked at once: what they agree on, and what that makes of the verdict."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from medvqa import records
from medvqa.errors import GateError, QuestionError
from medvqa.evaluation.metrics import normalise
from medvqa.records import record

if TYPE_CHECKING:
    from medvqa.assistant import Assistant
    from medvqa.types import Answer, HeatmapMethod, Study, Verdict

CANNOT_TELL = "I can't tell"
"""Counts as what a model says that abstains, whatever its guess."""

_WORSE: Mapping[Verdict, int] = MappingProxyType({"grounded": 0, "unsure": 1, "fragile": 2, "image_blind": 3})


@dataclass(frozen=True, slots=True, kw_only=True)
class JointAnswer:
    """What several models said to one question about one image."""

    joint_id: str
    """Subject of the event in the trail that binds the answers together."""
    audit_id: int
    """Sequence number of that event."""
    answers: tuple[Answer, ...]
    """Of those that answered, in the order in which they were asked; each is in the trail by itself."""
    text: str
    """What most of them say, in the words of the first that says so; of equals, that of the first asked."""
    agreement: float
    """Share of the models asked that say this, in (0, 1]; one that refused agrees with nobody."""
    verdict: Verdict
    """The worst of those that say it, and no better than `unsure` where not all do."""
    refusals: tuple[str, ...]
    """Why the others gave no answer."""


def ask_together(
    assistants: Sequence[Assistant],
    study: Study,
    question: str,
    *,
    image_number: int | None = None,
    heatmap: HeatmapMethod | None = None,
) -> JointAnswer:
    """Put one question to several models, one after the other, and compare what they say.

    Answers are the same that are equal once normalised (`medvqa.evaluation.metrics.normalise`), so that one
    which says more than another differs from it. That models agree does not make them right: those that
    learned from the same data share its faults.

    Args:
        assistants: At least two, with one trail.
        study: What is asked about.
        question: In plain words.
        image_number: As for `Assistant.ask`.
        heatmap: Of the first model's answer.

    Raises:
        GateError: If all refuse; as the first does.
        QuestionError: If there are fewer than two models, or all refuse for the question's sake.
        RecordError: If the trail did not take an event.
    """
    if len(assistants) < 2:
        raise QuestionError("to compare answers takes at least two models; name another")
    answers: list[Answer] = []
    refused: list[GateError | QuestionError] = []
    for place, assistant in enumerate(assistants):
        wanted = heatmap if place == 0 else None
        try:
            answers.append(assistant.ask(study, question, image_number=image_number, heatmap=wanted))
        except (GateError, QuestionError) as error:
            refused.append(error)
    if not answers:
        raise refused[0]
    chosen, agreement = _most_said(answers, asked=len(assistants))
    verdict = worst_verdict([answer.checks.verdict for answer in chosen], agreement=agreement)
    joint_id, by = str(uuid.uuid4()), assistants[0].agent
    text = _said(chosen[0])
    entry = records.agree(by, answers, joint_id=joint_id, text=text, agreement=agreement, verdict=verdict)
    (event,) = record(assistants[0].audit, entry)
    return JointAnswer(
        joint_id=joint_id,
        audit_id=event.sequence,
        answers=tuple(answers),
        text=text,
        agreement=agreement,
        verdict=verdict,
        refusals=tuple(map(str, refused)),
    )


def worst_verdict(verdicts: Sequence[Verdict], *, agreement: float) -> Verdict:
    """The worst of several verdicts, and no better than `unsure` where not all models agree.

    Args:
        verdicts: Of the answers that say the same; at least one.
        agreement: Share of the models asked that say it.
    """
    worst = max(verdicts, key=_WORSE.__getitem__)
    return worst if agreement == 1 else max(worst, "unsure", key=_WORSE.__getitem__)


def _most_said(answers: Sequence[Answer], *, asked: int) -> tuple[list[Answer], float]:
    """The answers that most give, and their share of the models asked."""
    meanings = [normalise(_said(answer)) for answer in answers]
    counts = Counter(meanings)
    most = max(counts.values())
    # Of equals the one that was said first: `answers` are in the order of asking.
    meaning = next(meaning for meaning in meanings if counts[meaning] == most)
    return [answer for answer, meant in zip(answers, meanings, strict=True) if meant == meaning], most / asked


def _said(answer: Answer) -> str:
    return CANNOT_TELL if answer.checks.abstains else answer.text
