"""What differs between model families, as data.

Geometry has one owner a step. `imaging` keeps the pixel matrix, the family's processor resizes, crops, pads
or tiles it, and the record here says which part of the image each result covers and how its tokens tile that
part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from medvqa.errors import ModelError
from medvqa.models import layouts
from medvqa.models.compose import places, registration
from medvqa.models.layouts import Box, TokenGrid

if TYPE_CHECKING:
    from torch import Tensor

    from medvqa.models.encoding import EncodedImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One record a family."""

    grids: Callable[[Any, EncodedImage], tuple[TokenGrid, ...]] = layouts.one_grid
    """(processor, image) to the grids; first the one that covers most of the image."""
    pixel_maps: Callable[[Tensor, Any, EncodedImage], list[tuple[Tensor, Box]]] = layouts.one_picture
    """(attribution shaped like the pixel values, processor, image) to maps, each with what it covers.

    Channels are summed. The first map is that of the first grid, and all have as many pixels a token.
    """
    loose: bool = False
    """Whether the tower takes pixel values without a batch dimension: one image's after the other's."""
    also_read: frozenset[str] = frozenset()
    """Inputs of the vision tower that the decoder wants as well."""
    shares_prefix: bool = True
    """Whether the tokens up to the end of the image are read alike, whatever question follows."""
    remembered: str | None = None
    """What the model keeps in an attribute, beside its cache, of the tokens that it has read."""
    answer_fill: Mapping[str, int] = field(default_factory=lambda: {"attention_mask": 1})
    """What further tokens have in the decoder's other inputs, where that is not 0."""
    processing: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Options of the processor."""
    trained_whole: tuple[str, ...] = ()
    """Modules that tuning trains themselves, where other layers get low-rank matrices."""


_SQUARE = Family()
_QWEN = Family(
    grids=layouts.qwen_grid,
    pixel_maps=layouts.qwen_picture,
    loose=True,
    also_read=frozenset({"image_grid_thw"}),
    remembered="rope_deltas",
)
_IDEFICS = Family(
    grids=partial(layouts.tile_grids, layouts.idefics_boxes),
    pixel_maps=partial(layouts.tile_pictures, layouts.idefics_boxes),
)

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "deepseek_vl": _SQUARE,
        # Crops that zoom into long images come with words between them, and tell of no place.
        "gemma3": Family(processing={"do_pan_and_scan": False}),
        "idefics3": _IDEFICS,
        "internvl": Family(
            grids=partial(layouts.tile_grids, layouts.internvl_boxes),
            pixel_maps=partial(layouts.tile_pictures, layouts.internvl_boxes),
            loose=True,
        ),
        "llava": Family(grids=layouts.llava_grid),
        "llava_next": Family(grids=layouts.llava_next_grids, pixel_maps=layouts.llava_next_pictures),
        registration.MODEL_TYPE: Family(grids=places.patch_grid, trained_whole=("bridge",)),
        # The prompt is read in both directions, so that the image's tokens see the question.
        "paligemma": Family(shares_prefix=False, answer_fill={"attention_mask": 1, "token_type_ids": 1}),
        "qwen2_5_vl": _QWEN,
        "qwen2_vl": _QWEN,
        "qwen3_vl": _QWEN,
        "smolvlm": _IDEFICS,
    }
)
"""By transformers' `model_type`."""


def family_of(model_type: str) -> Family:
    """The record of `model_type`.

    Raises:
        ModelError: If there is none.
    """
    family = FAMILIES.get(model_type)
    if family is None:
        known = ", ".join(sorted(FAMILIES))
        raise ModelError(f"no record for model family {model_type!r}; the families served so far are {known}")
    return family
