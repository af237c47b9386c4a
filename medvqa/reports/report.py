"""What a report says: each answer about a study, what holds of it, and what is struck out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from medvqa.checks.verdict import MEANINGS
from medvqa.errors import ReviewError
from medvqa.reading.places import find_images
from medvqa.reading.signatures import NOT_RELEASED_AS_THEY_ARE
from medvqa.reading.stories import read_stories
from medvqa.replay.images import present_as_recorded
from medvqa.types import Image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from audit import TreeHead
    from medvqa.reading.stories import ReportStatus, Story
    from medvqa.sessions import Session
    from medvqa.types import Heatmap, Study, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One answer as a report gives it."""

    story: Story
    held: str | None
    """What may be relied on as far as anybody said so; None where nothing may."""
    struck: str | None
    """The model's own words, where they do not hold: shown struck out, not left out."""
    reason: str | None
    """Why they are struck out."""
    image: Image | None
    """The one asked about; None where the study no longer has it."""
    as_asked: bool
    """Whether the image is shown as the model saw it, and not as the study is shown now."""
    image_number: int | None
    """From 1, in the study."""
    heatmap: Heatmap | None

    @property
    def entity(self) -> Mapping[str, Any]:
        """The answer as the trail has it."""
        return self.story.answered.entity


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is known of one study at one time: FHIR's DiagnosticReport in small."""

    study_instance_uid: str
    patient: str | None
    """Pseudonym."""
    modalities: tuple[str, ...]
    images: int
    status: ReportStatus
    """`preliminary` while an answer is not signed, `amended` once one has an addendum, else `final`."""
    statements: tuple[Statement, ...]
    """Of every answer: a report hides nothing, and says of each what became of it."""
    tree: TreeHead
    """Of the trail when the report was put together: it pins every answer in it."""
    issued: datetime
    """In UTC."""


def compose(session: Session, study: Study, *, heatmaps: Mapping[str, Heatmap] | None = None) -> Report:
    """Put together what the trail holds about a study.

    Args:
        session: Who reports.
        study: Read, for its images.
        heatmaps: By id of their answer, as far as they are at hand: the trail keeps their digests alone.

    Raises:
        ReviewError: If nothing was asked about the study.
        AuditError: If the trail cannot be read.
    """
    stories = read_stories(session.log, study=study.study_instance_uid)
    if not stories:
        raise ReviewError("there is nothing to report: the trail holds no answer about this study; ask first")
    places = find_images(study, stories)
    return Report(
        study_instance_uid=study.study_instance_uid,
        patient=session.pseudonym_of(study),
        modalities=tuple(dict.fromkeys(series.modality for series in study.series)),
        images=len(study.images),
        status=status_of(stories),
        statements=tuple(
            _state(story, study, places.get(story.answer_id), (heatmaps or {}).get(story.answer_id))
            for story in stories
        ),
        tree=session.log.tree_head(),
        issued=datetime.now(UTC),
    )


def status_of(stories: Sequence[Story]) -> ReportStatus:
    """What FHIR would call a report of these answers."""
    statuses = {story.status for story in stories}
    if "preliminary" in statuses:
        return "preliminary"
    return "amended" if "amended" in statuses else "final"


def _state(story: Story, study: Study, place: int | None, heatmap: Heatmap | None) -> Statement:
    reason = why_struck(story)
    drawn = heatmap is not None and (heatmap.grade is None or heatmap.grade.level != "chance")
    image, as_asked = (None, False) if place is None else show_image(study, place, story)
    return Statement(
        story=story,
        held=what_holds(story),
        struck=None if reason is None else str(story.answered.entity["answer"]),
        reason=reason,
        image=image,
        as_asked=as_asked,
        image_number=None if place is None else place + 1,
        heatmap=heatmap if drawn else None,
    )


def show_image(study: Study, place: int, story: Story) -> tuple[Image, bool]:
    """The image asked about, at that place of the study from 0, and whether it looks as it did then."""
    applied: Any = story.answered.entity["applied"]
    shown = present_as_recorded(study.frames[place], applied)
    return (shown, True) if isinstance(shown, Image) else (study.images[place], False)


def why_struck(story: Story) -> str | None:
    """Why the model's own words do not hold; None where they do.

    What a person amended or rejected does not. Nor does what the checks call doubtful, until a person agreed
    with it; nor, even then, what no one may release as it is.
    """
    entity: Any = story.answered.entity
    verdict: Verdict = entity["checks"]["verdict"]
    reviewed = story.review
    if reviewed is not None and reviewed.verdict != "agree":
        return f"{'amended' if reviewed.verdict == 'amend' else 'rejected'} by {reviewed.entity['reviewer']}"
    if verdict in NOT_RELEASED_AS_THEY_ARE or (reviewed is None and verdict != "grounded"):
        return f"{verdict.replace('_', ' ')}: {MEANINGS[verdict]}"
    if reviewed is None and entity["checks"]["abstains"]:
        return "the model cannot tell: this is its guess"
    return None


def what_holds(story: Story) -> str | None:
    """What may be relied on as far as anybody said so: the model's words, or those they were amended to."""
    if why_struck(story) is None or (story.review is not None and story.review.verdict == "amend"):
        return story.text
    return None
