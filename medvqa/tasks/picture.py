"""The picture that a model saw, and where its places lie on the image's own pixel matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from medvqa.models.layouts import WHOLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from medvqa.models.encoding import EncodedImage
    from medvqa.models.layouts import Box as Covered
    from medvqa.types import Image

Corners: TypeAlias = tuple[float, float, float, float]
"""Top, left, bottom and right, as fractions of a picture's height and width or in pixels of an image."""
Ring: TypeAlias = tuple[tuple[float, float], ...]
"""A polygon: points of row and column."""


class Seeing(Protocol):
    """A model that says what it makes of an image's pixels."""

    def encode(self, image: Image) -> EncodedImage:
        """The image after the vision tower."""
        ...

    def pixel_maps(self, attribution: Tensor, encoded: EncodedImage) -> list[tuple[Tensor, Covered]]:
        """Its input pictures, each with what it covers; first the one that shows most."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What the family's processor made of an image: resized, squeezed, cropped or padded."""

    size: tuple[int, int]
    """Rows and columns of the picture."""
    shape: tuple[int, int]
    """Rows and columns of the image."""
    covers: Covered = WHOLE
    """The part of the image under it; beyond 0 and 1 lies padding."""

    def to_image(self, fractions: Corners) -> Corners:
        """A box of the picture, as fractions of it, in pixels of the image; what is on padding is cut off."""
        top, left = self._point(fractions[0], fractions[1])
        bottom, right = self._point(fractions[2], fractions[3])
        return top, left, bottom, right

    def fill(self, rings: Sequence[Ring]) -> NDArray[np.bool_]:
        """Pixels of the image, shape (rows, columns), whose centre is inside any of these polygons."""
        bits = np.zeros(self.shape, dtype=np.bool_)
        for ring in rings:
            bits |= _inside([self._point(*point) for point in ring], self.shape)
        return bits

    def _point(self, row: float, column: float) -> tuple[float, float]:
        top, left, bottom, right = self.covers
        rows, columns = self.shape
        return (
            _cut((top + row * (bottom - top)) * rows, rows),
            _cut((left + column * (right - left)) * columns, columns),
        )


def picture_of(model: Seeing, image: Image) -> Picture:
    """The picture that `model` sees of `image`."""
    encoded = model.encode(image)
    shown, covers = model.pixel_maps(encoded.inputs["pixel_values"], encoded)[0]
    rows, columns = shown.shape
    return Picture(size=(rows, columns), shape=image.shape, covers=covers)


def _cut(value: float, end: int) -> float:
    # A hundredth of a pixel is finer than any family's grid, and reads better than a float.
    return min(max(round(value, 2), 0.0), float(end))


def _inside(ring: Sequence[tuple[float, float]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Even-odd rule at the centres of the pixels: an edge turns all that lies to its right."""
    bits = np.zeros(shape, dtype=np.bool_)
    centres = np.arange(shape[1]) + 0.5
    for (row, column), (next_row, next_column) in zip(ring, [*ring[1:], ring[0]], strict=True):
        low, high = sorted((row, next_row))
        crossed = np.arange(np.ceil(low - 0.5), np.ceil(high - 0.5)).astype(np.int64)
        along = (crossed + 0.5 - row) / (next_row - row) if len(crossed) else crossed
        bits[crossed] ^= centres >= (column + along * (next_column - column))[:, None]
    return bits
