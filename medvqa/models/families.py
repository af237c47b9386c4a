"""What differs between model families, as data: where each image token and each input pixel lies.

Geometry has one owner a step. `imaging` keeps the pixel matrix, the family's processor resizes or crops it,
and the record here says which part of the image the result covers and how its tokens tile that part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from medvqa.errors import ModelError

Box: TypeAlias = tuple[float, float, float, float]
"""Top, left, bottom and right as fractions of the image's rows and columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenGrid:
    """A run of image tokens that tiles part of the image in reading order."""

    first: int
    """Index of the grid's first token among the image tokens."""
    rows: int
    columns: int
    box: Box
    """The part of the image that the grid covers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One record a family."""

    covered: Callable[[Any, tuple[int, int]], Box]
    """(image processor, rows and columns of the image) to the part that the model sees."""
    grid: Callable[[int, Box], TokenGrid]
    """(number of image tokens, part of the image) to the grid."""
    shares_prefix: bool = True
    """Whether the tokens up to the end of the image are read alike, whatever question follows."""
    answer_fill: Mapping[str, int] = field(default_factory=dict[str, int])
    """What the answer's tokens have in the decoder's other inputs, where that is not 1."""


def resized_or_cropped(image_processor: Any, shape: tuple[int, int]) -> Box:
    """Box of a processor that squeezes the image to its size or, like CLIP's, cuts out the centre."""
    if not getattr(image_processor, "do_center_crop", False):
        return (0.0, 0.0, 1.0, 1.0)
    size, crop = image_processor.size, image_processor.crop_size
    if not size.get("shortest_edge"):
        rows, columns = size["height"], size["width"]
    else:
        scale = size["shortest_edge"] / min(shape)
        rows, columns = shape[0] * scale, shape[1] * scale
    height, width = min(1.0, crop["height"] / rows), min(1.0, crop["width"] / columns)
    return ((1 - height) / 2, (1 - width) / 2, (1 + height) / 2, (1 + width) / 2)


def square_grid(tokens: int, box: Box) -> TokenGrid:
    """Grid of n x n tokens, with one global token before it where n x n + 1 tokens came."""
    side = math.isqrt(tokens)
    first = tokens - side * side
    if first > 1 or side == 0:
        raise ModelError(
            f"{tokens} image tokens are neither a square grid nor one with a global token before it; "
            "this family needs a record of its own in medvqa/models/families.py"
        )
    return TokenGrid(first=first, rows=side, columns=side, box=box)


_SQUARE = Family(covered=resized_or_cropped, grid=square_grid)

FAMILIES: Mapping[str, Family] = MappingProxyType({"deepseek_vl": _SQUARE, "llava": _SQUARE})
"""By transformers' `model_type`."""


def family_of(model_type: str) -> Family:
    """The record of `model_type`.

    Raises:
        ModelError: If there is none.
    """
    family = FAMILIES.get(model_type)
    if family is None:
        known = ", ".join(sorted(FAMILIES))
        raise ModelError(f"no record for model family {model_type!r}; the families served so far are {known}")
    return family
