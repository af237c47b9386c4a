"""What to look for in a trail: a frozen filter, and the SQL it stands for."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from audit.rows import write_time
from audit.schema import EVENT

_EQUAL = ("agent", "action", "subject", "outcome", "patient", "study", "verdict")
_DIGEST = 64
_AFTER_DIGITS = "~"
"""Sorts after every digit and letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which events: those for which everything given holds.

    An index finds what is equal, and what lies between two times or confidences. For one bound alone, rows
    are read in order until enough are found; `text` reads all that the rest leaves over.
    """

    sequence: int | None = None
    agent: str | None = None
    action: str | None = None
    subject: str | None = None
    outcome: str | None = None
    patient: str | None = None
    study: str | None = None
    model: str | None = None
    """The digest, or its beginning: at least 8 digits, to mean one."""
    verdict: str | None = None
    since: datetime | None = None
    """From this time on; without a time zone, UTC."""
    until: datetime | None = None
    """Before this time."""
    least_confidence: float | None = None
    most_confidence: float | None = None
    disputed: bool | None = None
    """Whether a review of the same subject did not agree."""
    text: str | None = None
    """Occurs somewhere in the body, whatever the case of ASCII letters; archived bodies are not searched."""

    def applied_to(self, query: sa.Select[Any]) -> sa.Select[Any]:
        """The query with this filter's conditions."""
        return query.where(*self._conditions())

    def _conditions(self) -> Iterator[sa.ColumnElement[bool]]:
        if self.sequence is not None:
            yield EVENT.c.sequence == self.sequence
        for name in _EQUAL:
            if (value := getattr(self, name)) is not None:
                yield EVENT.c[name] == value
        if self.outcome not in (None, "success"):
            # As the index `event_by_outcome` says it.
            yield EVENT.c.outcome != sa.literal_column("'success'")
        if self.model is not None:
            yield from _starting_with(EVENT.c.model, self.model)
        if self.since is not None:
            yield EVENT.c.recorded >= _written(self.since)
        if self.until is not None:
            yield EVENT.c.recorded < _written(self.until)
        if self.least_confidence is not None:
            yield EVENT.c.confidence >= self.least_confidence
        if self.most_confidence is not None:
            yield EVENT.c.confidence <= self.most_confidence
        if self.disputed is not None:
            yield _disputed() if self.disputed else ~_disputed()
        if self.text is not None:
            yield EVENT.c.body.ilike(f"%{_escaped(_as_json(self.text))}%", escape="\\")


EVERYTHING = Filter()
"""Every event."""


def _starting_with(column: sa.Column[str], digest: str) -> Iterator[sa.ColumnElement[bool]]:
    if len(digest) >= _DIGEST:
        yield column == digest
        return
    yield column >= digest
    yield column < digest + _AFTER_DIGITS


def _disputed() -> sa.ColumnElement[bool]:
    review = EVENT.alias("review")
    disputes = sa.select(review.c.subject).where(
        review.c.action == "review", review.c.verdict.in_(("amend", "reject"))
    )
    return EVENT.c.subject.in_(disputes)


def _written(moment: datetime) -> str:
    return write_time(moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC))


def _as_json(text: str) -> str:
    """The text as it stands within a body."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _escaped(text: str) -> str:
    for sign in ("\\", "%", "_"):
        text = text.replace(sign, "\\" + sign)
    return text
