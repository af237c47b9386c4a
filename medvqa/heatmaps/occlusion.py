"""What the answer loses when part of the picture is hidden: occlusion (Zeiler and Fergus 2014)."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from medvqa.errors import ModelError
from medvqa.heatmaps.baselines import BASELINES, Baseline
from medvqa.heatmaps.geometry import paint
from medvqa.heatmaps.making import heatmap_of
from medvqa.heatmaps.targets import ANSWER, Target, scalar_of
from medvqa.models.base import is_open
from medvqa.models.layouts import WHOLE
from medvqa.types import Heatmap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medvqa.models.base import Generation, VisionLanguageModel
    from medvqa.models.layouts import Box
    from medvqa.types import Image, Pixels

MOST_CELLS = 8
"""Cells along an edge: 64 versions of the image are what a person waits for."""
_AT_ONCE = 16
ASKED_CELLS = 6
"""Cells along an edge where each version is asked of a server: 36 requests."""
_ASKED_AT_ONCE = 8


def occlusion_heatmap(
    model: VisionLanguageModel,
    image: Image,
    question: str,
    generation: Generation,
    *,
    target: Target = ANSWER,
    baseline: Baseline = "mean",
) -> Heatmap:
    """Map how much the target falls when each cell of the picture is replaced by the baseline.

    The picture itself is changed and seen anew, on the grid of the image's tokens, or one of at most 8 x 8
    where that is finer. Replacing tokens would be cheaper and less honest: a token's neighbours, and a global
    token, have seen what it stands for. A model that can only be asked is asked about each version, on a grid
    of 6 x 6, and what is mapped is what it tells of the answer's likelihood.

    Reference: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.

    Raises:
        ModelError: If the model can only be asked, and `target` is not the whole answer.
    """
    if not is_open(model):
        return _occlude_by_asking(model, image, question, generation, target=target, baseline=baseline)
    prompt = model.prompt(image, question)
    scalar = scalar_of(target, model, generation)
    empty, described = BASELINES[baseline]
    grid = model.token_grid(prompt.image)
    cells = (min(grid.rows, MOST_CELLS), min(grid.columns, MOST_CELLS))
    versions = list(hide_cells(image, empty(image).pixels, grid.box, cells))
    scores = [scalar.score(model, prompt, prompt.image.features)]
    with torch.inference_mode():
        for start in range(0, len(versions), _AT_ONCE):
            pixel_values = [model.pixel_values(hidden) for hidden in versions[start : start + _AT_ONCE]]
            scores.append(scalar.score(model, prompt, model.see(prompt.image, torch.cat(pixel_values))))
    losses = scores[0] - torch.cat(scores[1:])
    return heatmap_of(
        "occlusion",
        paint(losses.reshape(cells), grid.box, image.shape),
        image,
        grid=cells,
        explained=f"{scalar.formula} of the image, less that with a cell {described}",
    )


def _occlude_by_asking(
    model: VisionLanguageModel,
    image: Image,
    question: str,
    generation: Generation,
    *,
    target: Target,
    baseline: Baseline,
) -> Heatmap:
    if target != ANSWER:
        raise ModelError(
            "a model that can only be asked explains its whole answer alone; leave out word and contrast"
        )
    empty, described = BASELINES[baseline]
    cells = (min(ASKED_CELLS, image.shape[0]), min(ASKED_CELLS, image.shape[1]))
    whole = model.log_likelihood(image, question, generation.token_ids)
    versions = hide_cells(image, empty(image).pixels, WHOLE, cells)
    scores: list[float] = []
    while some := [(hidden, question) for hidden in islice(versions, _ASKED_AT_ONCE)]:
        scores += model.log_likelihoods(some, generation.token_ids)
    by = model.identity.parameters.get("likelihood")
    return heatmap_of(
        "occlusion",
        paint(whole - torch.tensor(scores).reshape(cells), WHOLE, image.shape),
        image,
        grid=cells,
        explained=f"log p(answer) of the image, less that with a cell {described}"
        + (f"; as the server tells it, by {by}" if by else ""),
    )


def hide_cells(image: Image, filling: Pixels, box: Box, cells: tuple[int, int]) -> Iterator[Image]:
    """Versions of the image with one cell each of a part of it replaced, in reading order.

    Args:
        image: Shape (rows, columns).
        filling: What shows in place of a cell, shaped like the image's pixels.
        box: The part, as fractions of rows and columns.
        cells: Rows and columns of cells in that part.
    """
    top, left, bottom, right = box
    rows, columns = image.shape
    row_edges = _edges(top, bottom, cells[0], rows)
    column_edges = _edges(left, right, cells[1], columns)
    for first_row, last_row in pairwise(row_edges):
        for first_column, last_column in pairwise(column_edges):
            hidden = np.array(image.pixels)
            cell = np.s_[first_row:last_row, first_column:last_column]
            hidden[cell] = filling[cell]
            yield replace(image, pixels=hidden)


def _edges(start: float, stop: float, cells: int, size: int) -> list[int]:
    """Where cells begin and end along an axis, in whole pixels inside the image."""
    return np.clip(np.rint(np.linspace(start, stop, cells + 1) * size), 0, size).astype(int).tolist()
