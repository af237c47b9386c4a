"""Answers that were given before: found in the trail, recorded as shown again, and marked as such."""

from __future__ import annotations

import json
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any

from audit import Filter, ReadError
from audit.actions import Action
from audit.rows import read_row
from medvqa import records
from medvqa.answers_as_json import describe_recorded
from medvqa.digests import digest_model
from medvqa.errors import DicomError, StoppedError
from medvqa.reading.stories import find_same, read_story, tell
from medvqa.records import record
from medvqa.stopping import require_running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from audit import Event
    from medvqa.assistant import Assistant
    from medvqa.inquiries import Inquiry
    from medvqa.reading.stories import Story

_LOOKED_THROUGH = 500
"""Last answers about a study that are looked through; one further back is given anew."""
_KEPT = 4096

_JUDGED = {
    "rejected": "a reader rejected this answer when it was given before",
    "corrected": "a reader amended this answer when it was given before; the words are the model's",
}


class Recall:
    """Finds the answer that the same model gave to the same question about the same pixels, shown alike.

    Only answers about the same study and patient are looked at: of another's the trail would tell here. The
    trail is what is believed; what is kept in memory is where in it to look.
    """

    def __init__(self) -> None:
        self._places: OrderedDict[str, str] = OrderedDict()
        """Ids of answers, by what was asked."""
        self._looking = Lock()

    def find(self, assistant: Assistant, inquiry: Inquiry) -> dict[str, Any] | None:
        """The answer as JSON, with `recalled` naming the row that says so; None where it is to be given anew.

        That is also so where answering was stopped, for that is then recorded and said.

        Raises:
            RecordError: If the trail did not take it that the answer is shown again.
            AuditError: If the trail cannot be read.
        """
        study, question = inquiry.study, inquiry.question
        try:
            image = study.images[inquiry.image_number - 1]
            require_running(assistant.audit, study.study_instance_uid)
        except (DicomError, StoppedError):
            return None
        patient = assistant.session.pseudonym_of(study)
        asked = records.describe_request(image, question, assistant.model.identity)
        key = json.dumps([asked, patient, inquiry.heatmap], sort_keys=True)
        with self._looking:
            known = self._places.get(key)
        log = assistant.audit
        story: Story | None
        if known is not None:
            story = read_story(log, known)
        else:
            about = Filter(
                study=study.study_instance_uid,
                action=Action.ANSWER,
                model=digest_model(assistant.model.identity),
                patient=patient,
            )
            rows = log.read_rows(about, limit=_LOOKED_THROUGH, newest_first=True)
            fitting = (event for event in _readable(rows) if _fits(event, patient, inquiry.heatmap))
            same = find_same(tell(fitting), image, question, assistant.model.identity)
            story = None if same is None else read_story(log, same.answer_id)
        if story is None:
            return None
        self._keep(key, story.answer_id)
        (event,) = record(log, records.recall(assistant.session.agent, story.answered))
        described = describe_recorded(story.answered, study.warnings)
        if story.state in _JUDGED:
            told = {"code": f"{story.state}_before", "message": _JUDGED[story.state], "tag": None}
            described["warnings"].append(told)
        return {**described, "recalled": {"audit_id": event.sequence}}

    def _keep(self, key: str, answer_id: str) -> None:
        with self._looking:
            self._places[key] = answer_id
            self._places.move_to_end(key)
            if len(self._places) > _KEPT:
                self._places.popitem(last=False)


def _readable(rows: Any) -> Iterator[Event]:
    """Rows whose body is still there; one that was archived is as good as none."""
    for row in rows:
        try:
            yield read_row(row)
        except ReadError:
            continue


def _fits(event: Event, patient: str | None, heatmap: str | None) -> bool:
    """Whether an answer was about that patient, and explained by that method, or by none."""
    made: Any = event.entity.get("heatmap")
    return event.patient == patient and (None if made is None else made["method"]) == heatmap
