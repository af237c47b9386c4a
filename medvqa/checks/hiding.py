"""Versions of an image with parts of it hidden: what deletion and insertion are measured on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, sobel

from medvqa.heatmaps.occlusion import ASKED_CELLS
from medvqa.models.base import is_open

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from medvqa.models.base import VisionLanguageModel
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import Image, Pixels

    Edges: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp]]
    """Where cells begin and end, in the image's rows (rows of cells + 1,) and columns (columns + 1,)."""

MOST_CELLS = 8
"""A side: grids of more tokens are hidden in coarser cells, so that the cost stays the same."""
_AT_ONCE = 32


class Parts(Protocol):
    """An image cut into cells, any of which can be hidden."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        ...

    @property
    def edges(self) -> Edges:
        """Where they lie."""
        ...

    def show(self, shown: NDArray[np.bool_]) -> Any:
        """Versions of which only some cells are shown, for a score to look at.

        Args:
            shown: Shape (versions, rows, columns).
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PictureCells:
    """As `Cells`, hidden in the image itself: for a model that can only be asked."""

    shape: tuple[int, int]
    edges: Edges
    image: Image
    blurred: Pixels

    def show(self, shown: NDArray[np.bool_]) -> Iterator[Image]:
        """Versions of the image, one after the other."""
        rows, columns = (np.diff(cuts) for cuts in self.edges)
        for version in shown:
            hidden = ~version.repeat(rows, 0).repeat(columns, 1)
            if self.blurred.ndim > hidden.ndim:
                hidden = hidden[..., None]
            yield replace(self.image, pixels=np.where(hidden, self.blurred, self.image.pixels))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """An image cut into cells, any of which can be hidden in the pixel values that the model reads.

    A hidden cell is blurred by as much as a cell is wide: what is in it is gone, and neither a hole nor an
    edge takes its place. A flat grey, the usual choice, is a bright patch in a dark surrounding, which a
    model may take for a finding.
    """

    shape: tuple[int, int]
    """Rows and columns of cells."""
    edges: Edges
    pixels: Tensor
    """Pixel values of the image, (1, ...)."""
    blurred: Tensor
    rows: Tensor
    """How much of each pixel value stems from each row of cells, in [0, 1], (cell rows, ...)."""
    columns: Tensor

    def show(self, shown: NDArray[np.bool_]) -> Tensor:
        """Pixel values of versions of which only some cells are shown.

        Args:
            shown: Shape (versions, rows, columns).

        Returns:
            Shape (versions, ...).
        """
        hidden = torch.from_numpy(~shown).to(self.rows)
        weight = torch.einsum("nrc,rp,cp->np", hidden, self.rows.flatten(1), self.columns.flatten(1))
        weight = weight.reshape(-1, *self.rows.shape[1:]).to(self.pixels)
        return self.pixels + weight * (self.blurred - self.pixels)


def cell_edges(model: HuggingFaceModel, image: Image) -> Edges:
    """Where the cells of an image lie: its grid of image tokens, or coarser."""
    grid = model.token_grid(model.encode(image))
    top, left, bottom, right = grid.box
    rows, columns = image.shape
    return _cut(top, bottom, rows, grid.rows), _cut(left, right, columns, grid.columns)


def cell_means(values: Pixels, edges: Edges) -> NDArray[np.float64]:
    """Mean in each cell of a map, shape (rows, columns) of the image; shape (rows, columns) of cells."""
    rows, columns = (list(pairwise(cuts)) for cuts in edges)
    means = [values[top:bottom, left:right].mean() for top, bottom in rows for left, right in columns]
    return np.array(means, dtype=np.float64).reshape(len(rows), len(columns))


def cut_cells(model: HuggingFaceModel, image: Image) -> Cells:
    """Cut the part of an image that the model sees along its grid of image tokens.

    Which pixel values stem from which cell is asked of the family's processor, by pictures that are white in
    one row or one column of cells: resizing, tiling and patches need no code here.
    """
    edges = rows, columns = cell_edges(model, image)

    def values(pixels: NDArray[np.floating]) -> Tensor:
        return model.pixel_values(replace(image, pixels=pixels.astype(np.float32)))

    black, white = (values(np.full(image.shape, level)) for level in (0.0, 1.0))

    def shares(cuts: NDArray[np.intp], axis: int) -> Tensor:
        strips = [values(_strip(image.shape, axis, *ends)) for ends in pairwise(cuts)]
        span = torch.where(white == black, torch.ones_like(white), white - black)
        return torch.cat([(strip - black) / span for strip in strips]).clamp(0, 1)

    sigma = _widths(edges)[: image.pixels.ndim]
    return Cells(
        shape=(len(rows) - 1, len(columns) - 1),
        edges=edges,
        pixels=model.pixel_values(image),
        blurred=values(gaussian_filter(image.pixels, sigma)),
        rows=shares(rows, 0),
        columns=shares(columns, 1),
    )


def cut(model: VisionLanguageModel, image: Image) -> Parts:
    """Cut an image along its grid of image tokens, or in 6 x 6 cells where the model can only be asked."""
    if is_open(model):
        return cut_cells(model, image)
    rows, columns = (_cut(0, 1, size, ASKED_CELLS) for size in image.shape)
    sigma = _widths((rows, columns))[: image.pixels.ndim]
    return PictureCells(
        shape=(len(rows) - 1, len(columns) - 1),
        edges=(rows, columns),
        image=image,
        blurred=np.asarray(gaussian_filter(image.pixels, sigma), dtype=np.float32),
    )


def find_edges(image: Image) -> Pixels:
    """Strength of edges (Sobel), shape (rows, columns): a map that knows nothing of model or question."""
    grey = image.pixels if image.pixels.ndim == 2 else image.pixels.mean(2)
    return np.hypot(sobel(grey, 0), sobel(grey, 1))


def measure(score: Callable[[Any], Tensor], cells: Parts, shown: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Score versions of an image in batches.

    Args:
        score: What `cells.show` gives of versions to numbers (versions,).
        cells: The image.
        shown: Which cells each version shows, (..., rows, columns).

    Returns:
        Shape (...).
    """
    versions = shown.reshape(-1, *cells.shape)
    batches = [versions[start : start + _AT_ONCE] for start in range(0, len(versions), _AT_ONCE)]
    with torch.inference_mode():
        scores = torch.cat([score(cells.show(batch)) for batch in batches])
    return scores.double().cpu().numpy().reshape(shown.shape[:-2])


def _widths(edges: Edges) -> tuple[float, float, float]:
    """Of a cell, in rows, columns and samples."""
    rows, columns = edges
    return float(np.diff(rows).mean()), float(np.diff(columns).mean()), 0.0


def _cut(start: float, end: float, size: int, tokens: int) -> NDArray[np.intp]:
    first, last = round(start * size), round(end * size)
    count = min(tokens, MOST_CELLS, max(last - first, 1))
    return np.rint(np.linspace(first, last, count + 1)).astype(np.intp)


def _strip(shape: tuple[int, int], axis: int, start: int, end: int) -> NDArray[np.float32]:
    strip = np.zeros(shape, dtype=np.float32)
    strip[(slice(None),) * axis + (slice(start, end),)] = 1
    return strip
