"""Double reading: two people judge an answer apart from each other, and a third decides where they differ."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from medvqa.errors import ReviewError

if TYPE_CHECKING:
    from audit import Event
    from medvqa.reading.stories import Story

READERS = 2


def readings(story: Story) -> list[Event]:
    """The last review of each reader, in the order in which they first reviewed."""
    last: dict[str, Event] = {}
    for review in story.reviews:
        last[str(review.entity["reviewer"])] = review
    return list(last.values())


def veil(story: Story, reader: str) -> Story:
    """The story as one reader may see it: what another one said is hidden until both are in."""
    own = tuple(review for review in story.reviews if review.entity["reviewer"] == reader)
    if own or is_read_twice(story) or story.signatures:
        return story
    return replace(story, reviews=())


def is_read_twice(story: Story) -> bool:
    """Whether two people reviewed the answer."""
    return len(readings(story)) >= READERS


def same_reading(story: Story) -> bool:
    """Whether the first two readers said the same: verdict and, where they amended it, words."""
    return len({_said(review) for review in readings(story)[:READERS]}) == 1


def disagree(story: Story) -> bool:
    """Whether the first two readers said different things, and no third one had the last word."""
    if not is_read_twice(story) or same_reading(story):
        return False
    two = {str(review.entity["reviewer"]) for review in readings(story)[:READERS]}
    return story.reviews[-1].entity["reviewer"] in two


def require_double_reading(story: Story) -> None:
    """Raise where an answer is not ready to be signed after double reading.

    Raises:
        ReviewError: If a second reader is missing, or two differ and no third had the last word.
    """
    if not is_read_twice(story):
        raise ReviewError(
            "this trail's answers are read twice: another person has to review this one before it is signed"
        )
    if disagree(story):
        raise ReviewError(
            "two readers differ about this answer: a third one has to review it before it is signed"
        )


def _said(review: Event) -> tuple[str | None, str]:
    text = str(review.entity["text"]) if review.verdict == "amend" else ""
    return review.verdict, " ".join(text.casefold().split())
