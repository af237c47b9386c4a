"""The heatmaps of recorded answers, made again: the trail keeps only their digests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medvqa.digests import digest_model
from medvqa.reading.places import find_images
from medvqa.reading.stories import read_stories
from medvqa.records import heatmap_sha256
from medvqa.reports.report import show_image

if TYPE_CHECKING:
    from medvqa.assistant import Assistant
    from medvqa.types import Heatmap, Study


def remake_heatmaps(assistant: Assistant, study: Study) -> dict[str, Heatmap]:
    """Explain answers about a study again, as they were explained when they were given.

    Args:
        assistant: Whose model explains, and in whose trail that is recorded.
        study: The one that was asked about.

    Returns:
        Heatmaps by the id of their answer, of those that came out as they were recorded. Answers of other
        models have none, nor do those whose map comes out otherwise on this machine.

    Raises:
        GateError: If the model is on a server, and the study may tell who the patient is.
        ModelError: If the model is on a server, and answers not at all or otherwise than before.
        RecordError: If the trail did not take an event.
        AuditError: If the trail cannot be read.
    """
    model = digest_model(assistant.model.identity)
    stories = [
        story
        for story in read_stories(assistant.audit, study=study.study_instance_uid)
        if story.answered.entity.get("heatmap") is not None and story.answered.model == model
    ]
    places = find_images(study, stories)
    made: dict[str, Heatmap] = {}
    for story in stories:
        recorded: Any = story.answered.entity["heatmap"]
        if story.answer_id not in places:
            continue
        image, as_asked = show_image(study, places[story.answer_id], story)
        if not as_asked:
            continue
        heatmap = assistant.explain(story, study, image, recorded["method"])
        if heatmap_sha256(heatmap) == recorded["sha256"]:
            made[story.answer_id] = heatmap
    return made
