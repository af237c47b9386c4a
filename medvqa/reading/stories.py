"""What happened around one answer since it was given, and where that leaves it."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from audit import Filter
from audit.actions import Action
from medvqa import records
from medvqa.errors import ReviewError
from medvqa.prompts import clean_question

if TYPE_CHECKING:
    from collections.abc import Iterable

    from audit import Event, Log
    from medvqa.types import Image, ModelIdentity

State: TypeAlias = Literal["unread", "in_review", "accepted", "corrected", "rejected", "signed", "addendum"]
ReportStatus: TypeAlias = Literal["preliminary", "final", "amended"]
"""As FHIR's DiagnosticReport.status: not signed yet; signed; signed, and added to since."""

_JUDGED: dict[str | None, State] = {"agree": "accepted", "amend": "corrected", "reject": "rejected"}
_PARTS = (Action.FIRST_READ, Action.REVIEW, Action.SIGN, Action.ADDENDUM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One answer and what people made of it; each part in the order in which it was recorded."""

    answered: Event
    first_reads: tuple[Event, ...] = ()
    reviews: tuple[Event, ...] = ()
    """By anybody; the last one before a signature holds."""
    signatures: tuple[Event, ...] = ()
    addenda: tuple[Event, ...] = ()

    @property
    def answer_id(self) -> str:
        """Of the answer."""
        return self.answered.subject

    @property
    def question(self) -> str:
        """What was asked."""
        return str(self.answered.entity["question"])

    @property
    def review(self) -> Event | None:
        """The review that holds: the one that was signed, or else the last."""
        if self.signatures:
            signed: Any = self.signatures[-1].entity["review"]
            return next((one for one in self.reviews if one.sequence == signed["sequence"]), None)
        return self.reviews[-1] if self.reviews else None

    @property
    def state(self) -> State:
        """How far the answer has come."""
        if self.signatures:
            return "addendum" if self.addenda else "signed"
        if self.reviews:
            return _JUDGED[self.reviews[-1].verdict]
        return "in_review" if self.first_reads else "unread"

    @property
    def status(self) -> ReportStatus:
        """Of what may be reported."""
        return {"signed": "final", "addendum": "amended"}.get(self.state, "preliminary")  # type: ignore[return-value]

    @property
    def text(self) -> str | None:
        """What holds: the answer, or what it was amended to; None once it is rejected."""
        held = self.review
        if held is None or held.verdict == "agree":
            return str(self.answered.entity["answer"])
        return None if held.verdict == "reject" else str(held.entity["text"])


def read_story(log: Log, answer_id: str) -> Story:
    """Read what happened around one answer.

    Raises:
        ReviewError: If the trail holds no answer of that id.
        AuditError: If the trail cannot be read.
    """
    # What is not printable was never recorded, and some of it no database takes as a parameter.
    events = log.read(Filter(subject=answer_id)) if answer_id.isprintable() else ()
    for story in tell(events):
        return story
    raise ReviewError("the audit trail holds no answer of that id; see `medvqa audit list --action answer`")


def read_stories(log: Log, *, study: str) -> list[Story]:
    """Read what happened around every answer about a study, in the order of the answers.

    Raises:
        AuditError: If the trail cannot be read.
    """
    return tell(log.read(Filter(study=study)))


def find_same(stories: Iterable[Story], image: Image, question: str, model: ModelIdentity) -> Story | None:
    """The last answer to the same words about the same pixels, shown alike, by the same model."""
    # As JSON gives it back, for so the trail holds it.
    wanted = json.loads(json.dumps(records.describe_request(image, clean_question(question), model)))
    found: Story | None = None
    for story in stories:
        entity = story.answered.entity
        if all(entity[name] == wanted[name] for name in ("question", "image", "applied", "model")):
            found = story
    return found


def tell(events: Iterable[Event]) -> list[Story]:
    """Sort events into stories, one an answer that was given; other events are left out."""
    answers: dict[str, Event] = {}
    parts: dict[str, dict[str, list[Event]]] = defaultdict(lambda: defaultdict(list))
    for event in events:
        if event.action == Action.ANSWER and event.outcome == "success":
            answers[event.subject] = event
        elif event.action in _PARTS:
            parts[event.subject][event.action].append(event)
    return [
        Story(
            answered=answered,
            first_reads=tuple(parts[subject][Action.FIRST_READ]),
            reviews=tuple(parts[subject][Action.REVIEW]),
            signatures=tuple(parts[subject][Action.SIGN]),
            addenda=tuple(parts[subject][Action.ADDENDUM]),
        )
        for subject, answered in answers.items()
    ]
