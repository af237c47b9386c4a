"""Signing what was made of an answer, and adding to it afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medvqa import records
from medvqa.errors import ReviewError
from medvqa.reading.double_reading import require_double_reading
from medvqa.reading.stories import read_story
from medvqa.reading.texts import clean

if TYPE_CHECKING:
    from audit import JSON, Event
    from medvqa.sessions import Session

NOT_RELEASED_AS_THEY_ARE = frozenset({"image_blind", "fragile"})
"""Verdicts of the checks under which an answer is signed amended or rejected, never as the model gave it."""


def sign(
    session: Session,
    answer_id: str,
    *,
    meaning: str,
    signer: str | None = None,
    double_reading: bool = False,
) -> Event:
    """Record a signature on the last review of an answer: who, when (the event's time), and what it means.

    The event binds the signature to answer and review by their leaf hashes. It does not prove who typed it:
    that is for the login of the machine.

    Args:
        session: Who records it.
        answer_id: Of the answer.
        meaning: Such as `reviewed and approved`.
        signer: Printed name, where that is not the session's agent.
        double_reading: Whether two people have to have reviewed it; see `medvqa.reading.double_reading`.

    Raises:
        ReviewError: If there is no such answer, it was not reviewed, or not twice, the review agrees with
            what no one may release as it is (`NOT_RELEASED_AS_THEY_ARE`), or the meaning is missing.
        RecordError: If the trail did not take the event.
        AuditError: If the trail cannot be read.

    Reference: 21 CFR 11.50 and 11.70.
    """
    cleaned = clean(meaning, "the meaning of a signature")
    if cleaned is None:
        raise ReviewError("a signature needs a meaning, such as 'reviewed and approved'")
    story = read_story(session.log, answer_id)
    reviewed = story.review
    if reviewed is None:
        raise ReviewError("the answer was not reviewed yet; run medvqa review first, then sign")
    if double_reading:
        require_double_reading(story)
    checked = story.answered.verdict
    if reviewed.verdict == "agree" and checked in NOT_RELEASED_AS_THEY_ARE:
        raise ReviewError(f"the checks call this answer {checked}: amend or reject it before it is signed")
    entity: dict[str, JSON] = {
        "signer": signer or session.agent.name,
        "meaning": cleaned,
        "review": {"sequence": reviewed.sequence, "hash": reviewed.hash, "verdict": reviewed.verdict},
    }
    (event,) = records.record(session.log, records.sign(session.agent, story.answered, entity=entity))
    return event


def add_addendum(session: Session, answer_id: str, *, text: str) -> Event:
    """Record what a person adds to a signed answer; nothing before it is changed.

    Args:
        session: Who records it.
        answer_id: Of the answer.
        text: Recorded as it is written, so it must not name the patient.

    Raises:
        ReviewError: If there is no such answer, it is not signed, or the text is missing.
        RecordError: If the trail did not take the event.
        AuditError: If the trail cannot be read.
    """
    cleaned = clean(text, "an addendum")
    if cleaned is None:
        raise ReviewError("an addendum needs a text; nothing was recorded")
    story = read_story(session.log, answer_id)
    if not story.signatures:
        raise ReviewError("the answer is not signed yet; review it again in place of an addendum")
    signed = story.signatures[-1]
    entity: dict[str, JSON] = {
        "text": cleaned,
        "signature": {"sequence": signed.sequence, "hash": signed.hash},
    }
    (event,) = records.record(session.log, records.add_addendum(session.agent, story.answered, entity=entity))
    return event
