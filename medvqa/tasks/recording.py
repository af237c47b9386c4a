"""Tasks as events of the trail: one before the model sees anything, one with what came of it.

Text that was read in the pixels may name the patient: of it the trail holds a digest and where it stood.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from audit import Entry
from audit.actions import Action
from medvqa.digests import digest_model, digest_tokens
from medvqa.records import describe_image
from medvqa.tasks.results import Masks, StudyReport, TextRegions, describe_content

if TYPE_CHECKING:
    from audit import JSON, types
    from medvqa.models.base import Generation
    from medvqa.records import Agent
    from medvqa.tasks.results import Content
    from medvqa.types import Image, ModelIdentity, Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """One task as it goes to the model."""

    result_id: str
    """Given before there is a result, so that all that follows can name it."""
    task: str
    text: str | None
    options: tuple[str, ...]
    patient: str | None
    """Pseudonym."""
    image: Image
    prior: Image | None
    model: ModelIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """What came of it."""

    content: Content
    warnings: tuple[Notice, ...]
    generation: Generation | None = None
    """What the model wrote, where it was asked in its own words for places."""
    prompt: str | None = None
    engine: dict[str, str] | None = None
    """What read the text, where it was not the model."""


def perform(by: Agent, ordered: Ordered) -> Entry:
    """A task is about to be done."""
    return _about(by, Action.PERFORM, ordered, {})


def result(by: Agent, ordered: Ordered, came: Came) -> Entry:
    """A task was done."""
    entity: dict[str, JSON] = {
        "model": asdict(ordered.model),
        "applied": [asdict(step) for step in ordered.image.applied],
        "engine": came.engine,
        "prompt": came.prompt,
        "content": describe_for_trail(came.content),
        "warnings": [notice.code for notice in came.warnings],
    }
    if came.generation is not None:
        entity["tokens"] = _describe_tokens(came)
    return _about(by, Action.RESULT, ordered, entity)


def refuse(by: Agent, ordered: Ordered, *, reason: str, outcome: types.Outcome) -> Entry:
    """A task was not done, for a reason that quotes neither model nor image."""
    return _about(by, Action.RESULT, ordered, {"reason": reason}, outcome=outcome)


def fail(by: Agent, ordered: Ordered, error: Exception) -> Entry:
    """The model broke off. Of the error its kind alone, for its text may quote anything."""
    return _about(by, Action.RESULT, ordered, {"error": type(error).__name__}, outcome="failed")


def describe_for_trail(content: Content) -> dict[str, Any]:
    """The result without what is too long for a row, and without text from the pixels."""
    described = describe_content(content)
    if isinstance(content, TextRegions):
        lines = "\n".join(region.text for region in content.regions)
        for region in described["regions"]:
            del region["text"]
        return described | {
            "count": len(content.regions),
            "text_sha256": hashlib.sha256(lines.encode()).hexdigest(),
        }
    if isinstance(content, Masks):
        described["masks"] = [
            {
                "label": mask.label,
                "pixels": mask.pixels,
                "runs_sha256": digest_tokens(mask.runs),
            }
            for mask in content.masks
        ]
    if isinstance(content, StudyReport):
        described["sections"] = [
            {"heading": section.heading, "answer_id": section.statement.answer_id}
            for section in content.sections
        ]
    return described


def _describe_tokens(came: Came) -> dict[str, JSON]:
    """What the model wrote: of text from the pixels its length alone."""
    if came.generation is None or isinstance(came.content, TextRegions):
        return {"count": 0 if came.generation is None else len(came.generation.token_ids)}
    return {"count": len(came.generation.token_ids), "token_ids": list(came.generation.token_ids)}


def _about(
    by: Agent,
    action: Action,
    ordered: Ordered,
    entity: dict[str, JSON],
    *,
    outcome: types.Outcome = "success",
) -> Entry:
    described: dict[str, JSON] = {
        "task": ordered.task,
        "text": ordered.text,
        "options": list(ordered.options),
        "image": describe_image(ordered.image),
        "prior": None if ordered.prior is None else describe_image(ordered.prior),
        "modality": ordered.image.modality,
    }
    return Entry(
        agent=by.name,
        role=by.role,
        action=action,
        subject=ordered.result_id,
        outcome=outcome,
        patient=ordered.patient,
        study=ordered.image.ref.study_instance_uid,
        model=digest_model(ordered.model),
        entity=described | entity,
    )
