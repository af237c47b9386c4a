"""From image tokens or model pixels back to the image's own pixel matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from medvqa.models.encoding import EncodedImage
    from medvqa.models.families import Box, TokenGrid
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import Pixels


def paint_tokens(scores: Tensor, model: HuggingFaceModel, encoded: EncodedImage) -> Pixels:
    """Paint scores of the image's tokens, shape (tokens,), over the image; as `paint` returns it."""
    grid = model.token_grid(encoded)
    return paint(token_map(scores, grid), grid.box, encoded.shape)


def paint_pixels(attribution: Tensor, model: HuggingFaceModel, encoded: EncodedImage) -> Pixels:
    """Paint an attribution shaped like `encoded.inputs["pixel_values"]`, summed over the tokens' cells."""
    grid = model.token_grid(encoded)
    return paint(pool(attribution[0].sum(0), grid), grid.box, encoded.shape)


def token_map(scores: Tensor, grid: TokenGrid) -> Tensor:
    """Arrange scores of image tokens, shape (tokens,), on their grid, shape (grid.rows, grid.columns)."""
    return scores[grid.first : grid.first + grid.rows * grid.columns].reshape(grid.rows, grid.columns)


def paint(coarse: Tensor, box: Box, shape: tuple[int, int]) -> Pixels:
    """Spread a coarse map over the part of the image that it covers.

    Args:
        coarse: Relevance, shape (any, any); negative values count as none.
        box: The part of the image, as fractions of its rows and columns.
        shape: Rows and columns of the image.

    Returns:
        float32 of that shape, scaled to a maximum of 1; 0 where the model did not look, and all 0 where no
        value is positive. Read-only.
    """
    rows, columns = shape
    top, left = round(box[0] * rows), round(box[1] * columns)
    bottom, right = max(round(box[2] * rows), top + 1), max(round(box[3] * columns), left + 1)
    size = (bottom - top, right - left)
    spread = functional.interpolate(coarse[None, None].float(), size, mode="bilinear", align_corners=False)
    painted = np.zeros(shape, dtype=np.float32)
    painted[top:bottom, left:right] = spread[0, 0].clamp(min=0).cpu().numpy()
    peak = painted.max()
    painted = painted / peak if peak > 0 else painted
    painted.setflags(write=False)
    return painted


def pool(fine: Tensor, grid: TokenGrid) -> Tensor:
    """Sum a map of the model's own pixels, shape (rows, columns), over the cells of `grid`."""
    cells = functional.adaptive_avg_pool2d(fine[None, None], (grid.rows, grid.columns))[0, 0]
    return cells * (fine.numel() / (grid.rows * grid.columns))
