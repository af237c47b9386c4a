"""Where tokens and pixels lie of images that a family cuts into tiles or crops."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from transformers.image_processing_utils import select_best_resolution
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas
from transformers.models.mllama.image_processing_pil_mllama import get_image_size_fit_to_canvas
from transformers.models.mllama.image_processing_pil_mllama import get_optimal_tiled_canvas as tiled_canvas

from medvqa.models.layouts import WHOLE, Box, TokenGrid, complete

if TYPE_CHECKING:
    from torch import Tensor

    from medvqa.models.encoding import EncodedImage

_Boxes: TypeAlias = Callable[[Any, "EncodedImage"], list[Box]]


def tile_grids(boxes_of: _Boxes, processor: Any, encoded: EncodedImage) -> tuple[TokenGrid, ...]:
    """Squares of tokens, one after the other: tiles, and a view of the whole."""
    boxes = boxes_of(processor, encoded)
    tokens = encoded.features.shape[1] // len(boxes)
    side = math.isqrt(tokens)
    *tiles, view = (
        TokenGrid(first=place * tokens, rows=side, columns=side, box=box) for place, box in enumerate(boxes)
    )
    return complete((view, *tiles), encoded)


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
    return _view_and_canvas(processor, encoded, most=None)


def llava_onevision_grids(processor: Any, encoded: EncodedImage) -> tuple[TokenGrid, ...]:
    """The same, where a canvas of too many tokens is shrunk."""
    most = int(processor.vision_aspect_ratio.removeprefix("anyres_max_"))
    return _view_and_canvas(processor, encoded, most=most)


def _view_and_canvas(processor: Any, encoded: EncodedImage, *, most: int | None) -> tuple[TokenGrid, ...]:
    """`most`: as many tiles may the canvas have tokens for."""
    canvas, tile = _canvas(processor, encoded), encoded.inputs["pixel_values"].shape[-1]
    side = _side(processor, tile)
    rows, columns = (size // tile * side for size in canvas.size)
    height, width = encoded.shape
    above, before = 0, 0
    if width / height > columns / rows:
        above = (rows - int(round(height * columns / width, 7))) // 2
    else:
        before = (columns - int(round(width * rows / height, 7))) // 2
    box = canvas.box(above * tile // side, before * tile // side)
    rows, columns = rows - 2 * above, columns - 2 * before
    shrunk = 1.0 if most is None else math.sqrt(rows * columns / (most * side**2))
    if shrunk > 1.1:
        rows, columns = int(rows // shrunk), int(columns // shrunk)
    whole = TokenGrid(first=0, rows=side, columns=side, box=WHOLE)
    fine = TokenGrid(first=side * side, rows=rows, columns=columns, box=box, between=1)
    return complete((whole, fine), encoded)


def _side(processor: Any, tile: int) -> int:
    """Tokens along the edge of a tile of so many pixels."""
    tokens = getattr(processor, "num_image_tokens", None)
    return math.isqrt(tokens) if tokens else tile // processor.patch_size


def canvas_pictures(attribution: Tensor, processor: Any, encoded: EncodedImage) -> list[tuple[Tensor, Box]]:
    """Of pixel values (1, view and tiles, channels, edge, edge)."""
    canvas = _canvas(processor, encoded)
    view, tiles = attribution[0, 0].sum(0), attribution[0, 1:].sum(1)
    edge = view.shape[0]
    rows, columns = (size // edge for size in canvas.size)
    whole = tiles.reshape(rows, columns, edge, edge).permute(0, 2, 1, 3).reshape(canvas.size)
    return [(view, WHOLE), (whole, canvas.box(0, 0))]


def mllama_grid(processor: Any, encoded: EncodedImage) -> tuple[TokenGrid, ...]:
    """Tiles of a canvas, each with a class token before it; the image lies in the canvas' corner."""
    (rows, columns), box = _corner(processor, encoded)
    tokens = encoded.features.shape[1] // encoded.inputs["pixel_values"].shape[2]
    side = math.isqrt(tokens)
    return (
        TokenGrid(
            first=0,
            rows=rows * side,
            columns=columns * side,
            box=box,
            tiles=(rows, columns),
            before_tiles=tokens - side * side,
        ),
    )


def mllama_picture(attribution: Tensor, processor: Any, encoded: EncodedImage) -> list[tuple[Tensor, Box]]:
    """Of pixel values (1, images, tiles, channels, edge, edge); one image."""
    (rows, columns), box = _corner(processor, encoded)
    tiles = attribution[0, 0, : rows * columns].sum(1)
    edge = tiles.shape[-1]
    whole = tiles.reshape(rows, columns, edge, edge).permute(0, 2, 1, 3)
    return [(whole.reshape(rows * edge, columns * edge), box)]


def _corner(processor: Any, encoded: EncodedImage) -> tuple[tuple[int, int], Box]:
    """Rows and columns of Mllama's tiles, and the canvas in terms of the image."""
    edge, most = encoded.inputs["pixel_values"].shape[-1], processor.image_processor.max_image_tiles
    canvas = tuple(map(int, tiled_canvas(*encoded.shape, max_image_tiles=most, tile_size=edge)))
    fitted = get_image_size_fit_to_canvas(*encoded.shape, *canvas, tile_size=edge)
    box = (0.0, 0.0, canvas[0] / float(fitted[0]), canvas[1] / float(fitted[1]))
    return (canvas[0] // edge, canvas[1] // edge), box


def crop_grids(_: Any, encoded: EncodedImage) -> tuple[TokenGrid, ...]:
    """Of the patches of Idefics2's crops and view, each in the corner of a padded picture."""
    edge = encoded.config.vision_config.patch_size
    rows, columns = (size // edge for size in encoded.inputs["pixel_values"].shape[-2:])
    *crops, view = (
        TokenGrid(
            first=place * rows * columns,
            rows=rows,
            columns=columns,
            box=_padded(box, (rows * edge / shown[0], columns * edge / shown[1])),
        )
        for place, (box, shown) in enumerate(_crops(encoded))
    )
    return (view, *crops)


def crop_pictures(attribution: Tensor, _: Any, encoded: EncodedImage) -> list[tuple[Tensor, Box]]:
    """Of pixel values (1, crops and view, channels, rows, columns)."""
    rows, columns = attribution.shape[-2:]
    *crops, view = (
        (picture, _padded(box, (rows / shown[0], columns / shown[1])))
        for picture, (box, shown) in zip(attribution[0].sum(1), _crops(encoded), strict=True)
    )
    return [view, *crops]


def _crops(encoded: EncodedImage) -> list[tuple[Box, tuple[int, int]]]:
    """What each of Idefics2's pictures shows of the image, and in how many rows and columns of pixels."""
    masks = encoded.inputs["pixel_attention_mask"][0]
    rows, columns = encoded.shape
    middle = rows // 2 / rows, columns // 2 / columns
    boxes = [WHOLE]
    if len(masks) > 1:
        halves = ((0.0, middle[0]), (middle[0], 1.0)), ((0.0, middle[1]), (middle[1], 1.0))
        boxes = [(top, left, bottom, right) for top, bottom in halves[0] for left, right in halves[1]]
        boxes.append(WHOLE)
    shown = [(int(mask.any(1).sum()), int(mask.any(0).sum())) for mask in masks]
    return list(zip(boxes, shown, strict=True))


def _padded(box: Box, share: tuple[float, float]) -> Box:
    """A box that is enlarged to the right and below by padding."""
    top, left, bottom, right = box
    return (top, left, top + (bottom - top) * share[0], left + (right - left) * share[1])
