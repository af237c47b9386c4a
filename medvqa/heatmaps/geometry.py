"""From image tokens or model pixels back to the image's own pixel matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from medvqa.models.encoding import EncodedImage
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.models.layouts import Box, TokenGrid
    from medvqa.types import Pixels


def paint_tokens(scores: Tensor, model: HuggingFaceModel, encoded: EncodedImage) -> Pixels:
    """Paint scores of the image's tokens, shape (tokens,), over the image; as `paint_pieces` returns it."""
    placed = model.place(scores, encoded)
    pieces = [(token_map(placed, grid), grid.box) for grid in model.token_grids(encoded)]
    return paint_pieces(pieces, encoded.shape)


def paint_pixels(attribution: Tensor, model: HuggingFaceModel, encoded: EncodedImage) -> Pixels:
    """Paint an attribution shaped like `encoded.inputs["pixel_values"]`, summed over the tokens' cells."""
    grid, maps = model.token_grid(encoded), model.pixel_maps(attribution, encoded)
    height, width = (
        size // cells for size, cells in zip(maps[0][0].shape, (grid.rows, grid.columns), strict=True)
    )
    pieces = [(pool(fine, fine.shape[0] // height, fine.shape[1] // width), box) for fine, box in maps]
    return paint_pieces(pieces, encoded.shape)


def token_map(scores: Tensor, grid: TokenGrid) -> Tensor:
    """Arrange scores of image tokens, shape (tokens,), on their grid, shape (grid.rows, grid.columns)."""
    down, across = grid.tiles
    rows, columns = grid.rows // down, grid.columns // across
    width = columns + grid.between
    tokens = grid.before_tiles + rows * width
    tiles = scores[grid.first : grid.first + down * across * tokens].reshape(down, across, tokens)
    places = tiles[..., grid.before_tiles :].reshape(down, across, rows, width)[..., :columns]
    return places.transpose(1, 2).reshape(grid.rows, grid.columns)


def paint(coarse: Tensor, box: Box, shape: tuple[int, int]) -> Pixels:
    """Spread one coarse map over the part of the image that it covers; as `paint_pieces` returns it."""
    return paint_pieces([(coarse, box)], shape)


def paint_pieces(pieces: Sequence[tuple[Tensor, Box]], shape: tuple[int, int]) -> Pixels:
    """Spread coarse maps over the parts of the image that they cover, and take their mean where several lie.

    Args:
        pieces: Relevance, shape (any, any), negative values against; each with the part of the image that it
            covers, as fractions of the rows and columns. What lies beyond the image is cut off.
        shape: Rows and columns of the image.

    Returns:
        float32 of that shape, scaled to a maximum of 1; 0 where the model did not look, where the mean is
        negative, and all 0 where it is positive nowhere. Read-only.
    """
    total, looks = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    for coarse, box in pieces:
        rows, columns = _span(box[0], box[2], shape[0]), _span(box[1], box[3], shape[1])
        size = (rows.stop - rows.start, columns.stop - columns.start)
        spread = functional.interpolate(
            coarse[None, None].float(), size, mode="bilinear", align_corners=False
        )
        inside = spread[0, 0, max(-rows.start, 0) :, max(-columns.start, 0) :].cpu().numpy()
        place = slice(max(rows.start, 0), rows.stop), slice(max(columns.start, 0), columns.stop)
        height, width = total[place].shape
        total[place] += inside[:height, :width]
        looks[place] += 1
    painted = np.maximum(total / np.maximum(looks, 1), 0)
    peak = painted.max()
    painted = painted / peak if peak > 0 else painted
    painted.setflags(write=False)
    return painted


def _span(start: float, stop: float, size: int) -> slice:
    """Fractions of an axis as whole pixels, one at least."""
    first = round(start * size)
    return slice(first, max(round(stop * size), first + 1))


def pool(fine: Tensor, rows: int, columns: int) -> Tensor:
    """Sum a map of the model's own pixels, shape (any, any), over `rows` x `columns` cells."""
    cells = functional.adaptive_avg_pool2d(fine[None, None], (rows, columns))[0, 0]
    return cells * (fine.numel() / (rows * columns))
