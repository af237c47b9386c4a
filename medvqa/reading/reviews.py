"""Judging an answer: agree with it, amend or reject it."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from medvqa import records
from medvqa.errors import ReviewError
from medvqa.reading.stories import read_story
from medvqa.reading.texts import clean_reason
from medvqa.types import ReviewVerdict

if TYPE_CHECKING:
    from audit import JSON, Event
    from medvqa.sessions import Session


def review(
    session: Session,
    answer_id: str,
    *,
    verdict: ReviewVerdict,
    text: str | None = None,
    reviewer: str | None = None,
    seconds: float | None = None,
) -> Event:
    """Record what a person makes of a recorded answer that is not signed yet.

    Args:
        session: Who records it.
        answer_id: Of the answer.
        verdict: `agree`, `amend` (then `text` is the corrected answer) or `reject` (then it says why).
        text: Recorded as it is written, so it must not name the patient.
        reviewer: Who judged, where that is not the session's agent.
        seconds: How long the reviewer looked, where that was measured.

    Raises:
        ReviewError: If there is no such answer, it is signed, or verdict or text will not do.
        RecordError: If the trail did not take the event.
        AuditError: If the trail cannot be read.
    """
    if verdict not in get_args(ReviewVerdict):
        raise ReviewError(f"a review's verdict is agree, amend or reject, not {verdict!r}")
    text = clean_reason(text, verdict)
    story = read_story(session.log, answer_id)
    if story.signatures:
        raise ReviewError("the answer is signed, and a signed answer stays as it is; add an addendum to it")
    entity: dict[str, JSON] = {
        "reviewer": reviewer or session.agent.name,
        "text": text,
        "seconds": seconds,
    }
    (event,) = records.record(
        session.log, records.review(session.agent, story.answered, verdict=verdict, entity=entity)
    )
    return event
