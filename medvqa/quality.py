"""How answers fare with the people who read them: agreement, reliance, calibration, reading time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from medvqa.reading.double_reading import is_read_twice, same_reading
from medvqa.reading.stories import tell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from audit import Event
    from medvqa.reading.stories import Story

By: TypeAlias = Literal["week", "modality", "adapter", "reader"]
_BINS = 10
"""Of equal width, for the calibration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Figures of some answers; each is None where nothing was there to measure it on."""

    answers: int
    reviewed: int
    agreed: float | None
    """Share of the reviewed answers that stood as the model gave them."""
    image_blind: float | None
    """Share of all answers."""
    abstained: float | None
    """Share of all answers at which the model said that it cannot tell."""
    calibration_error: float | None
    """Of the confidence as a forecast that the reader agrees: expected error over ten bins of equal width."""
    seconds: float | None
    """Median time of a review, where it was measured."""
    readers_agreed: float | None
    """Of the answers that two people reviewed: the share at which they said the same."""
    first_reads_changed: float | None
    """Of the answers that a reader had committed to another answer than the model's before: the share at
    which the reader then agreed with the model. High values ask for a second look: automation bias."""


def measure_quality(events: Iterable[Event]) -> Quality:
    """Measure all answers among events."""
    return _measure(tell(events))


def measure_by(events: Iterable[Event], by: By) -> dict[str, Quality]:
    """Measure answers apart by week of the answer, modality, adapter or reader, in that order."""
    groups: dict[str, list[Story]] = defaultdict(list)
    for story in tell(events):
        groups[_name(story, by)].append(story)
    return {name: _measure(groups[name]) for name in sorted(groups)}


def _name(story: Story, by: By) -> str:
    entity: Any = story.answered.entity
    if by == "week":
        day: date = story.answered.recorded.date()
        return "{}-W{:02}".format(*day.isocalendar()[:2])
    if by == "modality":
        return str(entity["modality"])
    if by == "adapter":
        return str(entity["model"]["adapter"] or entity["model"]["name"])
    return str(story.review.entity["reviewer"]) if story.review is not None else "not reviewed"


def _measure(stories: Sequence[Story]) -> Quality:
    checks: list[Any] = [story.answered.entity["checks"] for story in stories]
    judged = [story for story in stories if story.review is not None]
    seconds = sorted(
        float(story.review.entity["seconds"])  # type: ignore[arg-type]
        for story in judged
        if story.review is not None and story.review.entity.get("seconds") is not None
    )
    agreed = [story.review is not None and story.review.verdict == "agree" for story in judged]
    contradicted = [agree for story, agree in zip(judged, agreed, strict=True) if _differed(story)]
    return Quality(
        answers=len(stories),
        reviewed=len(judged),
        agreed=_share(agreed),
        image_blind=_share([one["verdict"] == "image_blind" for one in checks]),
        abstained=_share([bool(one["abstains"]) for one in checks]),
        calibration_error=_calibration_error(
            [float(story.answered.entity["checks"]["confidence"]) for story in judged],  # type: ignore[index]
            agreed,
        ),
        seconds=seconds[len(seconds) // 2] if seconds else None,
        readers_agreed=_share([same_reading(story) for story in judged if is_read_twice(story)]),
        first_reads_changed=_share(contradicted),
    )


def _differed(story: Story) -> bool:
    """Whether the reviewer had committed to other words than the model's before they saw them."""
    reviewer = None if story.review is None else story.review.agent
    said = str(story.answered.entity["answer"]).strip().lower()
    own = [one.entity["text"] for one in story.first_reads if one.agent == reviewer]
    return any(text is not None and str(text).strip().lower() != said for text in own)


def _share(held: Sequence[bool]) -> float | None:
    return sum(held) / len(held) if held else None


def _calibration_error(confidences: Sequence[float], agreed: Sequence[bool]) -> float | None:
    bins: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for confidence, right in zip(confidences, agreed, strict=True):
        bins[min(_BINS - 1, int(confidence * _BINS))].append((confidence, right))
    if not bins:
        return None
    gaps = (abs(sum(one for one, _ in held) - sum(right for _, right in held)) for held in bins.values())
    return sum(gaps) / len(confidences)
