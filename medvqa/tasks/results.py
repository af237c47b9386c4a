"""What comes of a task, as schemas: nothing that breaks one of their rules can be made.

Places are in pixels of the DICOM pixel matrix: 0 is the outer edge of the first row or column, `rows` and
`columns` are the outer edges of the last. `model_dump_json` writes a result, `CONTENT` reads it back.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, TypeAdapter, model_validator

from medvqa.types import Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
"""In [0, 1]."""
Edge: TypeAlias = Annotated[float, Field(ge=0)]
"""Distance in pixels from the first edge of the pixel matrix."""


class Schema(BaseModel):
    """Frozen; refuses what it does not know, and numbers that are none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Rectangle(Schema):
    """A part of an image, of some area."""

    top: Edge
    left: Edge
    bottom: Edge
    right: Edge

    @model_validator(mode="after")
    def _has_area(self) -> Rectangle:
        if not (self.top < self.bottom and self.left < self.right):
            raise ValueError("a box needs its top above its bottom and its left before its right")
        return self


class Box(Rectangle):
    """Where something is."""

    label: str
    """What it is, in the model's words or the asker's."""
    score: Share | None = None
    """None where the model gives none."""


class Boxes(Schema):
    """What was found where; empty where the model said, in its own form, that there is nothing."""

    kind: Literal["boxes"] = "boxes"
    rows: PositiveInt
    columns: PositiveInt
    boxes: tuple[Box, ...]

    @model_validator(mode="after")
    def _lie_inside(self) -> Boxes:
        _require_inside(self.boxes, self.rows, self.columns)
        return self


class Mask(Schema):
    """Which pixels belong to something, run by run: so many outside, so many inside, in reading order."""

    label: str
    rows: PositiveInt
    columns: PositiveInt
    runs: tuple[NonNegativeInt, ...]
    """The first counts pixels outside and may be 0."""

    @model_validator(mode="after")
    def _cover_the_image(self) -> Mask:
        if sum(self.runs) != self.rows * self.columns:
            raise ValueError(f"runs must add up to {self.rows} x {self.columns} pixels")
        return self

    @classmethod
    def of(cls, bits: NDArray[np.bool_], *, label: str) -> Mask:
        """The mask of `bits`, shape (rows, columns)."""
        flat = np.concatenate([[False], bits.reshape(-1)])
        starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]), [bits.size]])
        rows, columns = bits.shape
        return cls(label=label, rows=rows, columns=columns, runs=tuple(np.diff(starts).tolist()))

    def bits(self) -> NDArray[np.bool_]:
        """Shape (rows, columns), true inside."""
        inside = np.arange(len(self.runs)) % 2 == 1
        return np.repeat(inside, self.runs).reshape(self.rows, self.columns)

    @property
    def pixels(self) -> int:
        """How many are inside."""
        return sum(self.runs[1::2])


class Masks(Schema):
    """What was outlined."""

    kind: Literal["masks"] = "masks"
    rows: PositiveInt
    columns: PositiveInt
    masks: tuple[Mask, ...]

    @model_validator(mode="after")
    def _share_the_image(self) -> Masks:
        if any((mask.rows, mask.columns) != (self.rows, self.columns) for mask in self.masks):
            raise ValueError("every mask must have the image's rows and columns")
        return self


class TextRegion(Rectangle):
    """One line of text that is burned into the pixels."""

    text: str
    kind: Literal["text", "side marker"]
    side: Literal["left", "right"] | None = None
    """Of the patient, as a side marker says; None for other text."""
    confidence: Share | None = None
    """Of whoever read it; no calibrated chance. None where it gives none."""


class TextRegions(Schema):
    """All text that was read in an image, from top to bottom."""

    kind: Literal["text_regions"] = "text_regions"
    rows: PositiveInt
    columns: PositiveInt
    regions: tuple[TextRegion, ...]
    read_by: str
    """The engine with its version, or the model."""

    @model_validator(mode="after")
    def _lie_inside(self) -> TextRegions:
        _require_inside(self.regions, self.rows, self.columns)
        return self


class Statement(Schema):
    """One answer of the model in words; checks and all else are in its row of the trail."""

    question: str
    text: str
    answer_id: str
    verdict: Verdict
    abstains: bool
    """True where the model would rather not tell; `text` is then its guess."""
    confidence: Share
    confidence_calibrated: bool


class Reply(Schema):
    """The answer to a question of the asker's."""

    kind: Literal["reply"] = "reply"
    statement: Statement


class Caption(Schema):
    """What the image shows, in a sentence."""

    kind: Literal["caption"] = "caption"
    statement: Statement


class Section(Schema):
    """One heading of a report."""

    heading: str
    statement: Statement


class StudyReport(Schema):
    """Fixed questions about one image, each answered and checked by itself."""

    kind: Literal["study_report"] = "study_report"
    sections: tuple[Section, ...]


class Classification(Schema):
    """How much speaks for each option if exactly one is true; no figure is a chance of being right."""

    kind: Literal["classification"] = "classification"
    question: str | None
    """What was asked; None for a model that compares texts with the image and is asked nothing."""
    options: tuple[str, ...] = Field(min_length=2)
    probabilities: tuple[Share, ...]
    """One an option, 1 together; see `medvqa.tasks.choosing` for what they mean."""
    said: str | None
    """What the model answers to the question when it may say anything."""

    @model_validator(mode="after")
    def _add_up(self) -> Classification:
        if len(set(self.options)) < len(self.options) or len(self.options) != len(self.probabilities):
            raise ValueError("options must differ, and each must have one probability")
        if not math.isclose(sum(self.probabilities), 1, abs_tol=1e-6):
            raise ValueError("probabilities must add up to 1")
        return self

    @property
    def chosen(self) -> str:
        """The most probable option; of equals the first."""
        return self.options[self.probabilities.index(max(self.probabilities))]


Course: TypeAlias = Literal["better", "worse", "unchanged"]


class Comparison(Schema):
    """What became of a finding since the prior; see `medvqa.tasks.comparing` for what the numbers mean."""

    kind: Literal["comparison"] = "comparison"
    question: str
    label: Course
    better: Share
    worse: Share
    unchanged: Share
    change: float
    """log-odds of the finding in the current image less those in the prior, in nats."""

    @model_validator(mode="after")
    def _add_up(self) -> Comparison:
        if not math.isclose(self.better + self.worse + self.unchanged, 1, abs_tol=1e-6):
            raise ValueError("probabilities must add up to 1")
        return self


Content: TypeAlias = Boxes | Masks | TextRegions | Reply | Caption | StudyReport | Classification | Comparison
CONTENT: TypeAdapter[Content] = TypeAdapter(Annotated[Content, Field(discriminator="kind")])
"""Reads any of them from JSON."""


def describe_content(content: Content) -> dict[str, Any]:
    """As JSON, with what is derived from it."""
    described = content.model_dump(mode="json")
    return described | ({"chosen": content.chosen} if isinstance(content, Classification) else {})


def _require_inside(places: tuple[Rectangle, ...], rows: int, columns: int) -> None:
    if any(place.bottom > rows or place.right > columns for place in places):
        raise ValueError(f"a box reaches beyond the image of {rows} x {columns} pixels")
