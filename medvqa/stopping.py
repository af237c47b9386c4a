"""The stop switch: no question reaches the model, about one study or any, until somebody lets it go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit import Filter
from audit.actions import Action
from medvqa import records
from medvqa.errors import ReviewError, StoppedError

if TYPE_CHECKING:
    from audit import Event, Log
    from medvqa.sessions import Session

_ALL = "answers about any study"


def stop(session: Session, *, reason: str, study: str | None = None) -> Event:
    """Stop answering, at once and for everybody at this trail.

    Args:
        session: Who stops it.
        reason: Why; recorded as it is written and shown to whoever asks, so it must not name the patient.
        study: Study Instance UID; None for all studies.

    Raises:
        ReviewError: If the reason is missing.
        RecordError: If the trail did not take the event.
    """
    return _switch(session, Action.STOP, reason, study)


def resume(session: Session, *, reason: str, study: str | None = None) -> Event:
    """Let answering go on; a study that was stopped by itself stays so until it is resumed by itself."""
    return _switch(session, Action.RESUME, reason, study)


def stopped(log: Log, study: str | None = None) -> Event | None:
    """The event that stopped answering about one study, or about all; None where it goes on.

    Raises:
        AuditError: If the trail cannot be read.
    """
    last = next(log.read(Filter(subject=_subject(study)), limit=1, newest_first=True), None)
    return last if last is not None and last.action == Action.STOP else None


def require_running(log: Log, study: str | None) -> None:
    """Raise where answering about a study, or with None about all, was stopped.

    Raises:
        StoppedError: With who stopped it, and why.
        AuditError: If the trail cannot be read.
    """
    event = stopped(log) or stopped(log, study)
    if event is not None:
        what = "all studies" if event.subject == _ALL else "this study"
        raise StoppedError(
            f"answering about {what} was stopped by {event.agent} ({event.entity['reason']}); "
            "somebody who may has to resume it"
        )


def _switch(session: Session, action: Action, reason: str, study: str | None) -> Event:
    if not reason.strip():
        raise ReviewError(f"to {action} answering, say why; nothing was recorded")
    entry = records.switch(session.agent, action, subject=_subject(study), study=study, reason=reason.strip())
    (event,) = records.record(session.log, entry)
    return event


def _subject(study: str | None) -> str:
    return _ALL if study is None else f"answers about {study}"
