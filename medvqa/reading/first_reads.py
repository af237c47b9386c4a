"""What a reader thinks before the model's answer is shown: blind-first reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medvqa import records
from medvqa.reading.stories import read_story
from medvqa.reading.texts import clean

if TYPE_CHECKING:
    from audit import JSON, Event
    from medvqa.sessions import Session


def commit_first_read(
    session: Session, answer_id: str, *, text: str | None, seconds: float | None = None
) -> Event:
    """Record what a reader answers without the model's answer, or that the reader skipped it.

    Args:
        session: Who reads.
        answer_id: Of the answer that is not shown yet.
        text: The reader's own answer, which must not name the patient; None where it was skipped.
        seconds: How long the reader looked, where that was measured.

    Raises:
        ReviewError: If there is no such answer, or the text is too long.
        RecordError: If the trail did not take the event.
        AuditError: If the trail cannot be read.
    """
    own = clean(text, "a first read")
    entity: dict[str, JSON] = {"text": own, "skipped": own is None, "seconds": seconds}
    story = read_story(session.log, answer_id)
    (event,) = records.record(session.log, records.first_read(session.agent, story.answered, entity=entity))
    return event
