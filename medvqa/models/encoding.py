"""One image as the language model reads it: encoded once, it serves every question about it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from medvqa.imaging import to_uint8

if TYPE_CHECKING:
    from torch import Tensor

    from medvqa.types import Image

Layers: TypeAlias = tuple[tuple["Tensor", "Tensor"], ...]
"""Keys and values of each layer, (1, heads, tokens, width)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prefix:
    """The prompt up to the end of an image: the same for every question."""

    input_ids: Tensor
    """Shape (1, tokens)."""
    layers: Layers
    """What the decoder remembers of them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedImage:
    """An image after the vision tower, in a batch of one."""

    inputs: Mapping[str, Tensor]
    """What the processor made of the picture: `pixel_values` and what the family's tower wants besides."""
    output: Any
    """Of `get_image_features`."""
    features: Tensor
    """The image's tokens among the words', (1, tokens, width)."""
    shape: tuple[int, int]
    """Rows and columns of the image."""
    prefix: Prefix | None
    """None for a family whose image tokens read the question as well."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompt:
    """One image and one question, ready for the decoder."""

    image: EncodedImage
    inputs: Mapping[str, Tensor]
    """`input_ids` (1, tokens) and what else the family's decoder wants."""

    @property
    def input_ids(self) -> Tensor:
        """Shape (1, tokens)."""
        return self.inputs["input_ids"]


def content_digest(image: Image) -> str:
    """Names what a model would be shown: the pixels in eight bits, and their shape."""
    pixels = to_uint8(image)
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def features_of(output: Any) -> Tensor:
    """Image tokens of a batch, (images, tokens, width), from what `get_image_features` returned."""
    pooled = output.pooler_output
    return pooled if torch.is_tensor(pooled) else torch.stack(list(pooled))


def layers_of(cache: Any) -> Layers | None:
    """What a cache holds; None for one of which a beginning cannot be used again."""
    if not all(type(layer) is DynamicLayer for layer in cache.layers):
        return None
    return tuple((layer.keys, layer.values) for layer in cache.layers)


def cache_of(rows: Sequence[Layers]) -> DynamicCache:
    """A cache for a batch, one row each; they must be of one length."""
    stacked = [
        (torch.cat([keys for keys, _ in layer]), torch.cat([values for _, values in layer]))
        for layer in zip(*rows, strict=True)
    ]
    return DynamicCache(stacked)
