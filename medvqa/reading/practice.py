"""Practice: cases whose answer is known, some shown with a wrong one, to measure how readily readers follow.

How often a reader agrees with what was planted wrong is the commission error of automation bias (Goddard et
al. 2012, "Automation bias: a systematic review"). Nothing here is an answer of a model, or part of anybody's
care.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from medvqa import records
from medvqa.reading.texts import clean_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from audit import JSON, Event
    from medvqa.cases import Case
    from medvqa.sessions import Session
    from medvqa.types import ReviewVerdict

PLANTED = 0.4
"""Share of the cases that are shown with a wrong answer, as far as there is one."""
_OPPOSITE = {"yes": "no", "no": "yes"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exercise:
    """One case as it is put before a reader."""

    case: Case
    shown: str
    """As if a model had answered so."""
    planted: bool
    """Whether that is wrong on purpose."""

    @property
    def name(self) -> str:
        """In the trail: a digest of image, frame and question, for a file's name may be a patient's."""
        case = self.case
        about = f"{hashlib.sha256(case.image.read_bytes()).hexdigest()} {case.frame} {case.question}"
        return f"practice {hashlib.sha256(about.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bias:
    """How a reader fared; each share is None where nothing was there to measure it on."""

    planted: int
    """Wrong answers shown."""
    followed: float | None
    """Share of them that the reader agreed with: automation bias. 0 is best."""
    right: int
    """Right answers shown."""
    distrusted: float | None
    """Share of them that the reader amended or rejected. 0 is best."""


def set_exercises(cases: Sequence[Case], *, reader: str) -> tuple[Exercise, ...]:
    """Put cases in an order of this reader's own, some with a wrong answer; the same each time.

    A wrong answer is the opposite of yes or no, or the right answer of another case of the same kind.
    """
    answers: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for case in cases:
        answers[case.kind, case.language].add(case.answer)
    rng = Random(f"medvqa practice {reader}")  # noqa: S311  # draws lots, keeps no secret
    drawn = rng.sample(list(cases), len(cases))
    return tuple(_set(case, answers[case.kind, case.language], rng) for case in drawn)


def _set(case: Case, others: set[str], rng: Random) -> Exercise:
    right = {_plain(answer) for answer in (case.answer, *case.also)}
    opposite = _OPPOSITE.get(_plain(case.answer))
    wrong = [opposite] if opposite else sorted(one for one in others if _plain(one) not in right)
    planted = bool(wrong) and rng.random() < PLANTED
    return Exercise(case=case, shown=rng.choice(wrong) if planted else case.answer, planted=planted)


def commit_exercise(
    session: Session,
    exercise: Exercise,
    *,
    verdict: ReviewVerdict,
    text: str | None = None,
    seconds: float | None = None,
) -> Event:
    """Record what a reader made of an exercise.

    Raises:
        ReviewError: If a reason is missing or too long.
        RecordError: If the trail did not take the event.
    """
    text = clean_reason(text, verdict)
    entity: dict[str, JSON] = {
        "question": exercise.case.question,
        "shown": exercise.shown,
        "right": exercise.case.answer,
        "planted": exercise.planted,
        "text": text,
        "seconds": seconds,
    }
    entry = records.practise(session.agent, subject=exercise.name, verdict=verdict, entity=entity)
    (event,) = records.record(session.log, entry)
    return event


def measure_bias(events: Iterable[Event]) -> Bias:
    """Measure what one reader, or all, made of exercises; the first verdict on each counts."""
    first: dict[tuple[str, str], Event] = {}
    for event in events:
        first.setdefault((event.agent, event.subject), event)
    agreed: dict[bool, list[bool]] = {True: [], False: []}
    for event in first.values():
        planted: Any = event.entity["planted"]
        agreed[planted].append(event.verdict == "agree")
    followed, trusted = agreed[True], agreed[False]
    return Bias(
        planted=len(followed),
        followed=sum(followed) / len(followed) if followed else None,
        right=len(trusted),
        distrusted=1 - sum(trusted) / len(trusted) if trusted else None,
    )


def _plain(text: str) -> str:
    return text.strip(" .").casefold()
