"""Answering a study that came: the question set is asked, and what came of it made into DICOM objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medvqa import records
from medvqa.asking import Refusal
from medvqa.dicom_out import describe_objects, make_objects
from medvqa.errors import GateError, ModelError, ReviewError
from medvqa.inquiries import find_answer, inquiries_of
from medvqa.pacs.instances import keep
from medvqa.reading.stories import read_stories
from medvqa.reports import compose
from medvqa.stopping import require_running
from medvqa.types import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from medvqa.assistant import Assistant
    from medvqa.inquiries import Inquiry
    from medvqa.listening.inbox import Inbox
    from medvqa.question_sets import QuestionSet
    from medvqa.reading.stories import Story
    from medvqa.types import Heatmap, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Who answers what is asked about every study that comes."""

    assistant: Assistant
    questions: QuestionSet
    inbox: Inbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came of a study."""

    answers: int
    """Of the question set, those of earlier runs included."""
    refused: tuple[str, ...]
    """Why each of the other questions got none."""


def answer_study(desk: Desk, study_instance_uid: str) -> Answered:
    """Ask what was not answered yet about a study as it lies there, and put the results beside it.

    What the trail holds as answered by this model, about the same pixels in the same words, is not asked
    again: so a study is answered once, however often the process was killed meanwhile.

    Raises:
        StoppedError: If a person stopped answering, about this study or all.
        DicomError: If the study holds no image that can be used.
        CancelledError: If whoever waits for it stopped it.
        RecordError: If the trail did not take an event.
        AuditError: If the trail cannot be read.
        OSError: If a result cannot be written.
    """
    require_running(desk.assistant.audit, study_instance_uid)
    assistant, place = desk.assistant, desk.inbox.place(study_instance_uid)
    study = assistant.open_study(place)
    stories = read_stories(assistant.audit, study=study.study_instance_uid)
    asked = [
        (one, find_answer(one, stories, assistant.model.identity))
        for one in inquiries_of(desk.questions, study)
    ]
    came = assistant.ask_all([inquiry for inquiry, story in asked if story is None])
    refused = tuple(one.reason for one in came if isinstance(one, Refusal))
    heatmaps = {one.answer_id: one.heatmap for one in came if isinstance(one, Answer) and one.heatmap}
    for inquiry, story in asked:
        if story is not None and inquiry.heatmap is not None:
            heatmaps |= _explained_anew(assistant, inquiry, story)
    _make_results(desk, place, study, heatmaps)
    return Answered(answers=len(asked) - len(refused), refused=refused)


def _make_results(desk: Desk, place: Path, study: Study, heatmaps: Mapping[str, Heatmap]) -> None:
    """Put DICOM objects of what the trail holds about a study beside it, as far as they are new."""
    assistant, uid = desk.assistant, study.study_instance_uid
    try:
        report = compose(assistant.session, study, heatmaps=heatmaps)
    except ReviewError:  # every question was refused, or none fits the study
        return
    objects = make_objects(assistant.session, place, study, report)
    new = [one for one in objects if not desk.inbox.path_of_result(uid, one.sop_instance_uid).exists()]
    if not new:
        return
    entry = records.report_study(
        assistant.agent,
        study=uid,
        patient=assistant.session.pseudonym_of(study),
        entity={"status": report.status, "objects": describe_objects(new)},
    )
    records.record(assistant.audit, entry)
    for one in new:
        keep(one.to_bytes(), desk.inbox.path_of_result(uid, one.sop_instance_uid))


def _explained_anew(assistant: Assistant, inquiry: Inquiry, story: Story) -> Mapping[str, Heatmap]:
    """The heatmap of an answer that an earlier run gave: the trail keeps its digest alone."""
    if inquiry.heatmap is None:
        return {}
    image = inquiry.study.images[inquiry.image_number - 1]
    try:
        return {story.answer_id: assistant.explain(story, inquiry.study, image, inquiry.heatmap)}
    except (GateError, ModelError):
        return {}
