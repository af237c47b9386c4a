"""Where in a study the image is that an answer is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medvqa.errors import DicomError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medvqa.reading.stories import Story
    from medvqa.types import Study


def find_images(study: Study, stories: Sequence[Story]) -> dict[str, int]:
    """Places from 0 of the images asked about, by the id of the answer; none where the study has it no more.

    An image is known by its instance, frame and pixels; those that cannot be decoded were never asked about.
    """
    wanted = {story.answer_id: _key(story.answered.entity["image"]) for story in stories}
    missing = set(wanted.values())
    found: dict[tuple[str, int, str], int] = {}
    for place in range(len(study.frames)):
        if not missing:
            break
        try:
            ref = study.frames[place].ref
        except DicomError:
            continue
        key = (ref.sop_instance_uid, ref.frame_number, ref.pixel_sha256)
        if key in missing:
            found[key] = place
            missing.remove(key)
    return {answer_id: found[key] for answer_id, key in wanted.items() if key in found}


def _key(image: Any) -> tuple[str, int, str]:
    return image["sop_instance_uid"], image["frame_number"], image["pixel_sha256"]
