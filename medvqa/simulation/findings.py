"""Findings of five kinds, each a drawn shape at a known place: what a heatmap should point at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter

from medvqa.simulation.nodules import Nodule, Side, insert_nodule, place_nodule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medvqa.types import Pixels

Kind: TypeAlias = Literal["nodule", "opacity", "mass", "line", "marker"]

# Weights below this are cut off, so that a soft edge ends somewhere and the mask is no endless skirt.
_FAINTEST = 0.05
_GLYPHS = {
    "L": ("1....", "1....", "1....", "1....", "1....", "1....", "11111"),
    "R": ("1111.", "1...1", "1...1", "1111.", "1.1..", "1..1.", "1...1"),
    "clip": ("1...1", "1...1", "1...1", "1...1", "1...1", "1...1", ".111."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A simulated finding: what is drawn, and where."""

    kind: Kind
    row: float
    """Centre, in pixels from the top edge of the image."""
    column: float
    """Centre, in pixels from the left edge of the image."""
    size: float
    """In pixels: diameter of the circle about the centre that holds the finding."""
    contrast: float
    """Added display intensity where the finding is strongest, in [0, 1]."""
    seed: int
    """Of outline, texture, course or letter."""

    def side(self, shape: tuple[int, int]) -> Side:
        """Half of an image of `shape` (rows, columns) that holds the centre, as the viewer sees it."""
        return "left" if self.column < shape[1] / 2 else "right"

    def quadrant(self, shape: tuple[int, int]) -> str:
        """Quadrant of an image of `shape` (rows, columns) that holds the centre: `upper left` and so on."""
        return f"{'upper' if self.row < shape[0] / 2 else 'lower'} {self.side(shape)}"


def place_finding(kind: Kind, pixels: Pixels, rng: np.random.Generator) -> Finding:
    """Choose a finding that can be seen in `pixels`: whole, inside the body, not on a bright patch.

    A marker goes near a corner instead, where markers are. The centre keeps 4 % of the image's side and a
    quarter of the finding's size away from the midlines, so that side and quadrant are certain; a large
    finding may reach across.

    Args:
        kind: What to place.
        pixels: Display intensity in [0, 1], (rows, columns), 32 or more of each.
        rng: Decides place, size, contrast and outline.
    """
    seed = int(rng.integers(2**32))
    if kind == "nodule":
        nodule = place_nodule(pixels, rng)
        return Finding(
            kind=kind,
            row=nodule.row,
            column=nodule.column,
            size=2 * nodule.radius,
            contrast=nodule.contrast,
            seed=seed,
        )
    sizes, contrasts, _ = _KINDS[kind]
    size = float(rng.uniform(*sizes) * min(pixels.shape))
    row, column = _place(pixels, rng, size=size, cornered=kind == "marker")
    return Finding(
        kind=kind, row=row, column=column, size=size, contrast=float(rng.uniform(*contrasts)), seed=seed
    )


def insert_finding(pixels: Pixels, finding: Finding) -> Pixels:
    """Return a copy of `pixels` (rows, columns) in [0, 1] with `finding` blended in, the rest unchanged."""
    if finding.kind == "nodule":
        radius = finding.size / 2
        nodule = Nodule(row=finding.row, column=finding.column, radius=radius, contrast=finding.contrast)
        return insert_nodule(pixels, nodule)
    _, _, draw = _KINDS[finding.kind]
    box = _box(finding, (pixels.shape[0], pixels.shape[1]))
    rows, columns = np.ogrid[box]
    down = rows + 0.5 - finding.row
    across = columns + 0.5 - finding.column
    weight = draw(down, across, finding.size / 2, np.random.default_rng(finding.seed))
    weight = np.where(np.hypot(down, across) < finding.size / 2, weight, 0)
    result = pixels.astype(np.float32)
    result[box] = np.clip(result[box] + finding.contrast * weight, 0, 1)
    return result


def _place(pixels: Pixels, rng: np.random.Generator, *, size: float, cornered: bool) -> tuple[float, float]:
    """Row and column of a pixel's middle, `size / 2` or more from every edge."""
    certain: list[NDArray[np.bool_]] = []
    for length in pixels.shape:
        middle = (np.arange(length) + 0.5) / length
        edge = np.minimum(middle, 1 - middle)
        nearest = size / 2 / length
        farthest = nearest + 0.06 if cornered else 0.5 - max(0.04, size / 4 / length)
        certain.append((edge >= nearest) & (edge <= farthest))
    clear = certain[0][:, np.newaxis] & certain[1][np.newaxis, :]
    extent = max(3, int(size))
    fitting = clear & (uniform_filter(pixels, extent, mode="nearest") < 0.6)
    if not cornered:
        # Most of it on the body: a finding in the air beside it would be too easy to find.
        fitting &= uniform_filter((pixels > 0.12).astype(np.float32), extent, mode="nearest") > 0.75
    candidates = np.flatnonzero(fitting if fitting.any() else clear)
    row, column = np.unravel_index(rng.choice(candidates), pixels.shape)
    return float(row) + 0.5, float(column) + 0.5


def _box(finding: Finding, shape: tuple[int, int]) -> tuple[slice, slice]:
    """The part of an image of `shape` that holds the finding."""
    spans: list[slice] = []
    for middle, length in ((finding.row, shape[0]), (finding.column, shape[1])):
        first = max(0, int(middle - finding.size / 2))
        spans.append(slice(first, min(length, int(middle + finding.size / 2) + 1)))
    return spans[0], spans[1]


_Field: TypeAlias = "NDArray[np.floating]"


def _opacity(down: _Field, across: _Field, radius: float, rng: np.random.Generator) -> _Field:
    """Irregular and textured, fading to its edge."""
    outline = _outline(down, across, rng, harmonics=(2, 3, 4, 5), roughness=0.2) * radius
    fading = np.clip(2 * (1 - np.hypot(down, across) / outline), 0, 1)
    noise = gaussian_filter(rng.standard_normal(fading.shape), max(1.0, radius / 6))
    texture = np.clip(0.75 + 0.2 * noise / max(float(noise.std()), 1e-6), 0.3, 1)
    weight = fading * texture
    return np.where(weight < _FAINTEST, 0, weight)


def _mass(down: _Field, across: _Field, radius: float, rng: np.random.Generator) -> _Field:
    """Lobulated and sharp; every second one, about, has a rim darker than what is around it."""
    lobes = int(rng.integers(3, 6))
    outline = _outline(down, across, rng, harmonics=(2, lobes, lobes + 2), roughness=0.2) * radius
    inside = outline - np.hypot(down, across)
    rim = max(1.5, 0.12 * radius) if rng.random() < 0.5 else 0.0
    weight = np.clip(inside - rim + 0.5, 0, 1) - 0.5 * np.clip(np.minimum(inside + 0.5, rim - inside), 0, 1)
    return np.where(np.abs(weight) < _FAINTEST, 0, weight)


def _line(down: _Field, across: _Field, radius: float, rng: np.random.Generator) -> _Field:
    """A catheter-like curve of even width, its course a bent stroke."""
    thickness = max(2.0, 0.06 * radius)
    along = np.linspace(-1, 1, 33)
    bend = rng.uniform(0.15, 0.5) * rng.choice((-1, 1))
    course = np.stack([along, bend * (along**2 - 1 / 3) + rng.uniform(-0.2, 0.2) * (along**3 - along)])
    turn = rng.uniform(0, np.pi)
    course = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ course
    course *= (radius - thickness) / np.hypot(*course).max()
    distance = np.full(np.broadcast_shapes(down.shape, across.shape), np.inf)
    for start, end in zip(course.T[:-1], course.T[1:], strict=True):
        np.minimum(distance, _distance(down, across, start, end), out=distance)
    return np.clip(thickness / 2 - distance + 0.5, 0, 1)


def _marker(down: _Field, across: _Field, radius: float, rng: np.random.Generator) -> _Field:
    """A letter or a clip burned into the pixels: it says nothing of anybody."""
    glyph = _GLYPHS[str(rng.choice(sorted(_GLYPHS)))]
    cells = np.array([[cell == "1" for cell in line] for line in glyph])
    # The letter's diagonal is the circle's diameter.
    cell = 2 * radius / np.hypot(*cells.shape)
    row, column = (
        np.floor(grid / cell + count / 2).astype(int)
        for grid, count in zip((down, across), cells.shape, strict=True)
    )
    inside = (row >= 0) & (row < cells.shape[0]) & (column >= 0) & (column < cells.shape[1])
    drawn = cells[np.clip(row, 0, cells.shape[0] - 1), np.clip(column, 0, cells.shape[1] - 1)]
    return (inside & drawn).astype(np.float64)


def _outline(
    down: _Field, across: _Field, rng: np.random.Generator, *, harmonics: tuple[int, ...], roughness: float
) -> _Field:
    """Radius of a star-shaped outline in each pixel's direction, in (0, 1]."""
    angle = np.arctan2(down, across)
    waves = [np.cos(order * angle + rng.uniform(0, 2 * np.pi)) / len(harmonics) for order in harmonics]
    return 1 - roughness + roughness * np.sum(waves, axis=0)


def _distance(down: _Field, across: _Field, start: _Field, end: _Field) -> _Field:
    """From each pixel to the segment between two points (down, across), in pixels."""
    step = end - start
    share = ((down - start[0]) * step[0] + (across - start[1]) * step[1]) / (step @ step)
    share = np.clip(share, 0, 1)
    return np.hypot(down - start[0] - share * step[0], across - start[1] - share * step[1])


_Range: TypeAlias = tuple[float, float]
_Draw: TypeAlias = Callable[[_Field, _Field, float, np.random.Generator], _Field]
_KINDS: Mapping[Kind, tuple[_Range, _Range, _Draw]] = MappingProxyType(
    {
        "opacity": ((0.18, 0.34), (0.25, 0.45), _opacity),
        "mass": ((0.16, 0.3), (0.3, 0.5), _mass),
        "line": ((0.3, 0.42), (0.35, 0.55), _line),
        "marker": ((0.09, 0.14), (0.6, 0.9), _marker),
    }
)
"""Of each kind but the nodule: range of size as a share of the shorter side, range of contrast, its shape."""
