"""One image as the language model reads it: encoded once, it serves every question about it."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from medvqa.imaging import to_uint8

if TYPE_CHECKING:
    from torch import Tensor

    from medvqa.types import Image, Pixels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prefix:
    """The prompt up to the last of an image's tokens: the same for every question."""

    inputs: Mapping[str, Tensor]
    """Of the decoder: `input_ids` (1, tokens) and what else the family's decoder wants."""
    closing: str
    """What the processor writes after the image, before the words of the chat template."""
    cache: DynamicCache
    """What the decoder remembers of the tokens; never written to."""
    remembered: Tensor | None
    """What it remembers in an attribute of the model, (1, any)."""

    @property
    def input_ids(self) -> Tensor:
        """Shape (1, tokens)."""
        return self.inputs["input_ids"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedImage:
    """An image after the vision tower, in a batch of one."""

    inputs: Mapping[str, Tensor]
    """What the processor made of the picture: one row of `pixel_values`, and what the tower wants besides."""
    output: Any
    """Of the family's `see`."""
    features: Tensor
    """The image's tokens as the decoder reads them, (1, tokens, width)."""
    pixels: Pixels
    """Of the image, as it was given."""
    shape: tuple[int, int]
    """Rows and columns of the image."""
    config: Any
    """Of the model."""
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


def features_of(output: Any, images: int) -> Tensor:
    """Image tokens, (images, tokens, width), from what `get_image_features` returned.

    Where deeper layers of the decoder get features of their own, the width holds one after the other.
    """
    parts = (output.pooler_output, *(getattr(output, "deepstack_features", None) or ()))
    stacked = [part if torch.is_tensor(part) else torch.stack(list(part)) for part in parts]
    return torch.cat([part.reshape(images, -1, part.shape[-1]) for part in stacked], -1)


def with_features(output: Any, features: Tensor) -> Any:
    """The output of `get_image_features` with other image tokens: `features_of` the other way round."""
    deeper = getattr(output, "deepstack_features", None) or ()
    first, *rest = features.chunk(1 + len(deeper), -1)
    changed = copy.copy(output)
    changed["pooler_output"] = first if torch.is_tensor(output.pooler_output) else list(first)
    if deeper:
        changed["deepstack_features"] = [list(part) for part in rest]
    return changed


def beginning(inputs: Mapping[str, Tensor], tokens: int) -> dict[str, Tensor]:
    """Inputs of the decoder for its first tokens alone."""
    return {
        name: value[:, :tokens] if _has_places(value, inputs) else value for name, value in inputs.items()
    }


def continued(inputs: Mapping[str, Tensor], token_ids: Tensor, fill: Mapping[str, int]) -> dict[str, Tensor]:
    """Inputs of the decoder with further tokens, (rows, tokens).

    Args:
        inputs: What the decoder was to read.
        token_ids: The further tokens.
        fill: What they have in the other inputs with a number for each token, where that is not 0. In inputs
            with more than a number for each they have what the last token has.
    """
    longer = dict(inputs)
    for name, value in inputs.items():
        if name == "input_ids":
            added = token_ids
        elif not _has_places(value, inputs):
            continue
        elif value.ndim == 2:
            added = value.new_full(token_ids.shape, fill.get(name, 0))
        else:
            added = value[:, -1:].expand(-1, token_ids.shape[1], *value.shape[2:])
        longer[name] = torch.cat([value, added], 1)
    return longer


def _has_places(value: Any, inputs: Mapping[str, Tensor]) -> bool:
    """Whether an input of the decoder says something of each token."""
    return value is not None and value.shape[:2] == inputs["input_ids"].shape


def can_be_shared(cache: Any) -> bool:
    """Whether what follows a beginning can be read with this cache of it, in a batch too."""
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers)


def cache_of(caches: Sequence[DynamicCache]) -> DynamicCache:
    """One cache for a batch, a row each, all of one length. Writing to it leaves them as they are."""
    batch = copy.copy(caches[0])
    batch.layers = [copy.copy(layer) for layer in caches[0].layers]
    for place, layer in enumerate(cast("list[Any]", batch.layers)):
        rows: list[Any] = [cache.layers[place] for cache in caches]
        layer.keys = torch.cat([row.keys for row in rows])
        layer.values = torch.cat([row.values for row in rows])
    return batch
