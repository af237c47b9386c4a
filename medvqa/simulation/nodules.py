"""A bright disc at a known place: the finding that the default model was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy.ndimage import uniform_filter

if TYPE_CHECKING:
    from medvqa.types import Pixels

Side: TypeAlias = Literal["left", "right"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodule:
    """A simulated finding: a bright disc at a known place."""

    row: float
    """Centre, in pixels from the top edge of the image."""
    column: float
    """Centre, in pixels from the left edge of the image."""
    radius: float
    """In pixels."""
    contrast: float
    """Added display intensity at the centre, in [0, 1]."""

    def side(self, shape: tuple[int, int]) -> Side:
        """Half of an image of `shape` (rows, columns) that holds the centre, as the viewer sees it."""
        return "left" if self.column < shape[1] / 2 else "right"

    def quadrant(self, shape: tuple[int, int]) -> str:
        """Quadrant of an image of `shape` (rows, columns) that holds the centre: `upper left` and so on."""
        return f"{'upper' if self.row < shape[0] / 2 else 'lower'} {self.side(shape)}"


def insert_nodule(pixels: Pixels, nodule: Nodule) -> Pixels:
    """Return a copy of `pixels` (rows, columns) in [0, 1] with `nodule` blended in, soft at its rim."""
    rows, columns = np.ogrid[: pixels.shape[0], : pixels.shape[1]]
    distance = np.hypot(rows + 0.5 - nodule.row, columns + 0.5 - nodule.column)
    weight = np.clip(nodule.radius - distance + 0.5, 0, 1)
    return np.clip(pixels + nodule.contrast * weight, 0, 1).astype(np.float32)


def place_nodule(pixels: Pixels, rng: np.random.Generator) -> Nodule:
    """Choose a nodule that can be seen in `pixels` (rows, columns): inside the body, not on a bright patch.

    The centre keeps 4 % of the image's side away from the midlines, so that side and quadrant are certain.
    """
    rows, columns = pixels.shape
    radius = float(rng.uniform(0.035, 0.08) * min(rows, columns))
    surroundings = uniform_filter(pixels, size=max(3, int(2 * radius)), mode="nearest")
    row_grid = (np.arange(rows) + 0.5) / rows
    column_grid = (np.arange(columns) + 0.5) / columns
    clear = np.ones((rows, columns), dtype=bool)
    for axis, grid in ((0, row_grid), (1, column_grid)):
        certain = (np.abs(grid - 0.5) > 0.04) & (np.minimum(grid, 1 - grid) > 0.1)
        clear &= certain[:, None] if axis == 0 else certain[None, :]
    body = clear & (surroundings > 0.08) & (surroundings < 0.6)
    candidates = np.flatnonzero(body if body.any() else clear)
    row, column = np.unravel_index(rng.choice(candidates), pixels.shape)
    return Nodule(
        row=float(row) + 0.5,
        column=float(column) + 0.5,
        radius=radius,
        contrast=float(rng.uniform(0.35, 0.55)),
    )
