"""Where each image token and each input pixel lies on the image, for each way of laying them out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from transformers.image_processing_utils import select_best_resolution
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

from medvqa.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from medvqa.models.encoding import EncodedImage

Box: TypeAlias = tuple[float, float, float, float]
"""Top, left, bottom and right as fractions of the image's rows and columns; beyond 0 and 1 lies padding."""

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenGrid:
    """A run of image tokens that tiles part of the image in reading order."""

    first: int
    """Index of the grid's first token among the image tokens."""
    rows: int
    columns: int
    box: Box
    """The part of the image that the grid covers."""
    between: int = 0
    """Tokens after each row that stand for no place."""


def one_grid(processor: Any, encoded: EncodedImage) -> tuple[TokenGrid, ...]:
    """One picture, whose tokens form a square."""
    covered = covered_box(processor.image_processor, encoded.shape)
    return (square_grid(encoded.features.shape[1], covered),)


def one_picture(attribution: Tensor, processor: Any, encoded: EncodedImage) -> list[tuple[Tensor, Box]]:
    """Of pixel values (1, channels, rows, columns)."""
    return [(attribution[0].sum(0), covered_box(processor.image_processor, encoded.shape))]


def covered_box(image_processor: Any, shape: tuple[int, int]) -> Box:
    """What a picture covers whose processor squeezes, crops like CLIP's, or pads to a square."""
    if getattr(image_processor, "do_pad", False) and hasattr(image_processor, "pad_to_square"):
        rows, columns = ((max(shape) / size - 1) / 2 for size in shape)
        return (-rows, -columns, 1 + rows, 1 + columns)
    return resized_or_cropped(image_processor, shape)


def resized_or_cropped(image_processor: Any, shape: tuple[int, int]) -> Box:
    """Box of a processor that squeezes the image to its size or, like CLIP's, cuts out the centre."""
    if not getattr(image_processor, "do_center_crop", False):
        return WHOLE
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


def llava_grid(processor: Any, encoded: EncodedImage) -> tuple[TokenGrid, ...]:
    """Pixtral's tower in LLaVA keeps the image's aspect ratio, and says which size it has."""
    sizes = encoded.inputs.get("image_sizes")
    if sizes is None:
        return one_grid(processor, encoded)
    edge = processor.patch_size * getattr(processor, "spatial_merge_size", 1)
    rows, columns = (size // edge for size in sizes[0].tolist())
    return _complete((TokenGrid(first=0, rows=rows, columns=columns, box=WHOLE),), encoded)


def qwen_grid(processor: Any, encoded: EncodedImage) -> tuple[TokenGrid, ...]:
    """The picture keeps its aspect ratio, roughly, and neighbouring patches are merged into one token."""
    _, height, width = encoded.inputs["image_grid_thw"][0].tolist()
    merged = processor.image_processor.merge_size
    grid = TokenGrid(first=0, rows=height // merged, columns=width // merged, box=WHOLE)
    return _complete((grid,), encoded)


def qwen_picture(attribution: Tensor, processor: Any, encoded: EncodedImage) -> list[tuple[Tensor, Box]]:
    """Of pixel values (1, patches, channels x frames x edge x edge), neighbours in a row."""
    _, height, width = encoded.inputs["image_grid_thw"][0].tolist()
    merged, edge = processor.image_processor.merge_size, processor.image_processor.patch_size
    patches = attribution.reshape(height // merged, width // merged, merged, merged, -1, edge, edge).sum(4)
    return [(patches.permute(0, 2, 4, 1, 3, 5).reshape(height * edge, width * edge), WHOLE)]


_Boxes: TypeAlias = Callable[[Any, "EncodedImage"], list[Box]]


def tile_grids(boxes_of: _Boxes, processor: Any, encoded: EncodedImage) -> tuple[TokenGrid, ...]:
    """Squares of tokens, one after the other: tiles, and a view of the whole."""
    boxes = boxes_of(processor, encoded)
    tokens = encoded.features.shape[1] // len(boxes)
    side = math.isqrt(tokens)
    *tiles, view = (
        TokenGrid(first=place * tokens, rows=side, columns=side, box=box) for place, box in enumerate(boxes)
    )
    return _complete((view, *tiles), encoded)


def tile_pictures(
    boxes_of: _Boxes, attribution: Tensor, processor: Any, encoded: EncodedImage
) -> list[tuple[Tensor, Box]]:
    """Of pixel values (1, tiles and view, channels, rows, columns)."""
    *tiles, view = zip(attribution[0].sum(1), boxes_of(processor, encoded), strict=True)
    return [view, *tiles]


def _tiles_and_view(rows: int, columns: int) -> list[Box]:
    tiles = [
        (row / rows, column / columns, (row + 1) / rows, (column + 1) / columns)
        for row in range(rows)
        for column in range(columns)
    ]
    return [*tiles, WHOLE]


def idefics_boxes(processor: Any, encoded: EncodedImage) -> list[Box]:
    """The longest edge has a fixed number of tiles; the processor does not say how many the other has."""
    tiles = encoded.inputs["pixel_values"].shape[1] - 1
    if tiles == 0:
        return [WHOLE]
    sizes = processor.image_processor
    longest = math.ceil(sizes.size["longest_edge"] / sizes.max_image_size["longest_edge"])
    rows, columns = encoded.shape
    return _tiles_and_view(*((tiles // longest, longest) if columns >= rows else (longest, tiles // longest)))


def internvl_boxes(processor: Any, encoded: EncodedImage) -> list[Box]:
    """As many tiles of the processor's choice as come closest to the image's aspect ratio."""
    pixel_values = encoded.inputs["pixel_values"]
    if pixel_values.shape[1] == 1:
        return [WHOLE]
    limits = processor.image_processor.min_patches, processor.image_processor.max_patches
    columns, rows = get_optimal_tiled_canvas(encoded.shape, tuple(pixel_values.shape[-2:]), *limits)
    return _tiles_and_view(rows, columns)


@dataclass(frozen=True, slots=True)
class _Canvas:
    """LLaVA-NeXT's larger picture: the image amid padding, all cut in tiles."""

    size: tuple[int, int]
    fitted: tuple[int, int]
    """Rows and columns of the image on it."""

    def box(self, top: int, left: int) -> Box:
        """The part of the image under the canvas without so many pixels at both ends of each axis."""
        (rows, columns), (height, width) = self.size, self.fitted
        above, before = top - (rows - height) // 2, left - (columns - width) // 2
        return (
            above / height,
            before / width,
            (above + rows - 2 * top) / height,
            (before + columns - 2 * left) / width,
        )


def _canvas(processor: Any, encoded: EncodedImage) -> _Canvas:
    (height, width) = encoded.shape
    rows, columns = select_best_resolution(encoded.shape, processor.image_processor.image_grid_pinpoints)
    if columns / width < rows / height:
        fitted = (min(math.ceil(height * columns / width), rows), columns)
    else:
        fitted = (rows, min(math.ceil(width * rows / height), columns))
    return _Canvas((rows, columns), fitted)


def llava_next_grids(processor: Any, encoded: EncodedImage) -> tuple[TokenGrid, ...]:
    """The whole image, then the canvas without padding, each row of which ends in a token for no place."""
    canvas, edge = _canvas(processor, encoded), processor.patch_size
    side = encoded.inputs["pixel_values"].shape[-1] // edge
    rows, columns = (size // edge for size in canvas.size)
    height, width = encoded.shape
    above, before = 0, 0
    if width / height > columns / rows:
        above = (rows - int(round(height * columns / width, 7))) // 2
    else:
        before = (columns - int(round(width * rows / height, 7))) // 2
    whole = TokenGrid(first=0, rows=side, columns=side, box=WHOLE)
    fine = TokenGrid(
        first=side * side,
        rows=rows - 2 * above,
        columns=columns - 2 * before,
        box=canvas.box(above * edge, before * edge),
        between=1,
    )
    return _complete((whole, fine), encoded)


def llava_next_pictures(
    attribution: Tensor, processor: Any, encoded: EncodedImage
) -> list[tuple[Tensor, Box]]:
    """Of pixel values (1, view and tiles, channels, edge, edge)."""
    canvas = _canvas(processor, encoded)
    view, tiles = attribution[0, 0].sum(0), attribution[0, 1:].sum(1)
    edge = view.shape[0]
    rows, columns = (size // edge for size in canvas.size)
    whole = tiles.reshape(rows, columns, edge, edge).permute(0, 2, 1, 3).reshape(canvas.size)
    return [(view, WHOLE), (whole, canvas.box(0, 0))]


def _complete(grids: tuple[TokenGrid, ...], encoded: EncodedImage) -> tuple[TokenGrid, ...]:
    """The grids, if they have a place for each token."""
    places = sum(grid.rows * (grid.columns + grid.between) for grid in grids)
    if places != encoded.features.shape[1]:
        raise ModelError(
            f"{encoded.features.shape[1]} image tokens came where the processor's settings mean {places}, so "
            "no heatmap can be drawn; fetch the checkpoint's processor files again"
        )
    return grids
