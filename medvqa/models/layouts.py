"""Where each image token and each input pixel lies on the image, for each way of laying them out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

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
    tiles: tuple[int, int] = (1, 1)
    """Rows and columns of tiles that the grid is put together of; the tokens of each follow one another."""
    before_tiles: int = 0
    """Tokens before each tile that stand for no place."""


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
    return complete((TokenGrid(first=0, rows=rows, columns=columns, box=WHOLE),), encoded)


def patch_grid(_: Any, encoded: EncodedImage) -> tuple[TokenGrid, ...]:
    """Patches of the one picture that a tower with a class token sees, squeezed to a square."""
    output = encoded.output
    patches = getattr(output, "last_hidden_state", None)
    count = (encoded.features if patches is None else patches).shape[1]
    return (square_grid(count, WHOLE),)


def florence_grid(processor: Any, encoded: EncodedImage) -> tuple[TokenGrid, ...]:
    """One token for the mean of the picture, then a square."""
    covered = covered_box(processor.image_processor, encoded.shape)
    side = math.isqrt(encoded.features.shape[1] - 1)
    return complete((TokenGrid(first=1, rows=side, columns=side, box=covered),), encoded, placeless=1)


def first_picture(attribution: Tensor, _: Any, __: EncodedImage) -> list[tuple[Tensor, Box]]:
    """Of pixel values (1, images, channels, rows, columns), squeezed to a square; one image."""
    return [(attribution[0, 0].sum(0), WHOLE)]


def qwen_grid(processor: Any, encoded: EncodedImage) -> tuple[TokenGrid, ...]:
    """The picture keeps its aspect ratio, roughly, and neighbouring patches are merged into one token."""
    _, height, width = encoded.inputs["image_grid_thw"][0].tolist()
    merged = processor.image_processor.merge_size
    grid = TokenGrid(first=0, rows=height // merged, columns=width // merged, box=WHOLE)
    return complete((grid,), encoded)


def qwen_picture(attribution: Tensor, processor: Any, encoded: EncodedImage) -> list[tuple[Tensor, Box]]:
    """Of pixel values (1, patches, channels x frames x edge x edge), neighbours in a row."""
    _, height, width = encoded.inputs["image_grid_thw"][0].tolist()
    merged, edge = processor.image_processor.merge_size, processor.image_processor.patch_size
    patches = attribution.reshape(height // merged, width // merged, merged, merged, -1, edge, edge).sum(4)
    return [(patches.permute(0, 2, 4, 1, 3, 5).reshape(height * edge, width * edge), WHOLE)]


def complete(
    grids: tuple[TokenGrid, ...], encoded: EncodedImage, *, placeless: int = 0
) -> tuple[TokenGrid, ...]:
    """The grids, if they have a place for each token but so many."""
    places = placeless + sum(grid.rows * (grid.columns + grid.between) for grid in grids)
    if places != encoded.features.shape[1]:
        raise ModelError(
            f"{encoded.features.shape[1]} image tokens came where the processor's settings mean {places}, so "
            "no heatmap can be drawn; fetch the checkpoint's processor files again"
        )
    return grids
