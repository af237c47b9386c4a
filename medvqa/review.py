"""What people make of an answer: reviews, and signatures on reviews."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from audit import Filter
from audit.actions import Action
from medvqa import records
from medvqa.errors import ReviewError
from medvqa.types import ReviewVerdict

if TYPE_CHECKING:
    from audit import JSON, Event, Log
    from medvqa.sessions import Session

MAX_TEXT_CHARACTERS = 5000
"""Of a review's text, and of what a signature means."""


def review(
    session: Session,
    answer_id: str,
    *,
    verdict: ReviewVerdict,
    text: str | None = None,
    reviewer: str | None = None,
    seconds: float | None = None,
) -> Event:
    """Record what a person makes of a recorded answer.

    Args:
        session: Who records it.
        answer_id: Of the answer.
        verdict: `agree`, `amend` (then `text` is the corrected answer) or `reject` (then it says why).
        text: Recorded as it is written, so it must not name the patient.
        reviewer: Who judged, where that is not the session's agent.
        seconds: How long the reviewer looked, where that was measured.

    Raises:
        ReviewError: If there is no such answer, or verdict or text will not do.
        RecordError: If the trail did not take the event.
        AuditError: If the trail cannot be read.
    """
    if verdict not in get_args(ReviewVerdict):
        raise ReviewError(f"a review's verdict is agree, amend or reject, not {verdict!r}")
    text = _clean(text, "the text of a review")
    if text is None and verdict != "agree":
        raise ReviewError(f"to {verdict} an answer, say in a text what is right or why; nothing was recorded")
    entity: dict[str, JSON] = {
        "reviewer": reviewer or session.agent.name,
        "text": text,
        "seconds": seconds,
    }
    answered = find_answer(session.log, answer_id)
    (event,) = records.record(
        session.log, records.review(session.agent, answered, verdict=verdict, entity=entity)
    )
    return event


def sign(session: Session, answer_id: str, *, meaning: str, signer: str | None = None) -> Event:
    """Record a signature on the last review of an answer: who, when (the event's time), and what it means.

    The event binds the signature to answer and review by their leaf hashes. It does not prove who typed it:
    that is for the login of the machine.

    Args:
        session: Who records it.
        answer_id: Of the answer.
        meaning: Such as `reviewed and approved`.
        signer: Printed name, where that is not the session's agent.

    Raises:
        ReviewError: If there is no such answer, it was not reviewed, or the meaning is missing.
        RecordError: If the trail did not take the event.
        AuditError: If the trail cannot be read.

    Reference: 21 CFR 11.50 and 11.70.
    """
    cleaned = _clean(meaning, "the meaning of a signature")
    if cleaned is None:
        raise ReviewError("a signature needs a meaning, such as 'reviewed and approved'")
    answered = find_answer(session.log, answer_id)
    reviews = [event for event in _story(session.log, answer_id) if event.action == Action.REVIEW]
    if not reviews:
        raise ReviewError("the answer was not reviewed yet; run medvqa review first, then sign")
    reviewed = reviews[-1]
    entity: dict[str, JSON] = {
        "signer": signer or session.agent.name,
        "meaning": cleaned,
        "review": {"sequence": reviewed.sequence, "hash": reviewed.hash, "verdict": reviewed.verdict},
    }
    (event,) = records.record(session.log, records.sign(session.agent, answered, entity=entity))
    return event


def find_answer(log: Log, answer_id: str) -> Event:
    """The event of an answer that was given.

    Raises:
        ReviewError: If the trail holds none of that id.
        AuditError: If the trail cannot be read.
    """
    for event in _story(log, answer_id):
        if (event.action, event.outcome) == (Action.ANSWER, "success"):
            return event
    raise ReviewError("the audit trail holds no answer of that id; see `medvqa audit list --action answer`")


def _story(log: Log, answer_id: str) -> list[Event]:
    # What is not printable was never recorded, and some of it no database takes as a parameter.
    return list(log.read(Filter(subject=answer_id))) if answer_id.isprintable() else []


def _clean(text: str | None, name: str) -> str | None:
    if text is None or not text.strip():
        return None
    if len(text) > MAX_TEXT_CHARACTERS:
        raise ReviewError(f"{name} has {len(text)} characters; shorten it to {MAX_TEXT_CHARACTERS} at most")
    return text.strip()
