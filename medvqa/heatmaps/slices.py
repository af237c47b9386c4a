"""Which image of a study an answer rests on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import torch

from medvqa.heatmaps.targets import ANSWER, Target, scalar_of
from medvqa.imaging import blank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medvqa.models.base import Generation
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import Image

_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceWorth:
    """What each image of a study adds to one answer."""

    values: tuple[float, ...]
    """The scalar of the image, less that of the image blanked to its mean grey, in nats; one an image."""
    explained: str
    """The scalar."""

    @property
    def best(self) -> int:
        """Index of the image that adds most; the first of equals."""
        return max(range(len(self.values)), key=self.values.__getitem__)


def weigh_slices(
    model: HuggingFaceModel,
    images: Sequence[Image],
    question: str,
    generation: Generation,
    *,
    target: Target = ANSWER,
) -> SliceWorth:
    """Ask of each image by itself what it adds to an answer that was given about one of them.

    Args:
        model: The model that answered; it reads one image at a time.
        images: At least one.
        question: What was asked.
        generation: The answer.
        target: What of it counts.
    """
    scalar = scalar_of(target, model, generation)
    values: list[float] = []
    for _, alike in groupby(images, key=lambda image: image.pixels.shape):
        group = list(alike)
        prompt = model.prompt(group[0], question)  # images of one shape have one number of tokens
        for start in range(0, len(group), _AT_ONCE):
            shown = group[start : start + _AT_ONCE]
            versions = [model.pixel_values(version) for version in (*shown, *map(blank, shown))]
            with torch.inference_mode():
                scores = scalar.score(model, prompt, model.see(prompt.image, torch.cat(versions)))
            values += (scores[: len(shown)] - scores[len(shown) :]).tolist()
    return SliceWorth(
        values=tuple(values),
        explained=f"{scalar.formula} of the image, less that of the image blanked to its mean grey",
    )
