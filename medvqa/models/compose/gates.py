"""Gated cross-attention: how the words of a language model come to read an image between its layers.

Whatever the decoder is, its layers take further keywords and hand on none that they do not know. So the image
travels as such a keyword, and a hook on each layer takes it out again. Nothing is kept in the module: two
threads may use one model, and a layer that is computed again on the way back finds the same image. What
generation needs of an image later stands in the cache, as layers behind those of the decoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicLayer

if TYPE_CHECKING:
    from transformers import DynamicCache

KEYWORD = "medvqa_media"
"""Of the layers of the decoder."""

Memory: TypeAlias = tuple[Tensor, Tensor]
"""Keys and values of one block, each (rows, heads, image tokens, width of a head)."""


class Look(nn.Module):
    """Cross-attention from words to image tokens."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.leave = nn.Linear(width, width, bias=False)

    def read(self, image: Tensor) -> Memory:
        """Keys and values of image tokens, (rows, tokens, width)."""
        return self._heads(self.key(image)), self._heads(self.value(image))

    def forward(self, words: Tensor, memory: Memory, visible: Tensor | None) -> tuple[Tensor, Tensor]:
        """What words, (rows, words, width), find, of that shape, and where they look for it.

        The second is (rows, heads, words, image tokens); words that see no image have zeros there.
        """
        keys, values = memory
        query = self._heads(self.query(words))
        scores = (query @ keys.transpose(2, 3) * query.shape[-1] ** -0.5).float()
        if visible is not None:
            # A word that sees nothing would be 0 / 0; it is emptied behind the softmax.
            blind = ~visible.any(-1, keepdim=True)
            scores = scores.masked_fill(~(visible | blind)[:, None], float("-inf"))
            weights = scores.softmax(-1).masked_fill(blind[:, None], 0)
        else:
            weights = scores.softmax(-1)
        found = weights.to(values.dtype) @ values
        return self.leave(found.transpose(1, 2).flatten(2)), weights

    def _heads(self, hidden: Tensor) -> Tensor:
        """Split (rows, tokens, width) into (rows, heads, tokens, width of a head)."""
        return hidden.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class GatedBlock(nn.Module):
    """Cross-attention and a feed-forward part, each behind a gate that is shut at first: tanh(0).

    Reference: Alayrac et al., "Flamingo", NeurIPS 2022, figure 4.
    """

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.look = Look(width, heads=heads)
        self.look_gate = nn.Parameter(torch.zeros(1))
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width, bias=False),
            nn.GELU(),
            nn.Linear(4 * width, width, bias=False),
        )
        self.feed_forward_gate = nn.Parameter(torch.zeros(1))

    def forward(self, hidden: Tensor, memory: Memory, visible: Tensor | None) -> Tensor:
        """Add to words, (rows, words, width), what they find in the image; those before it stay."""
        found, _ = self.look(self.norm(hidden), memory, visible)
        hidden = hidden + self.look_gate.tanh() * found
        fed = self.feed_forward(hidden)
        if visible is not None:
            fed = fed.masked_fill(~visible.any(-1, keepdim=True), 0)
        return hidden + self.feed_forward_gate.tanh() * fed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Media:
    """The images of a batch, on their way through the decoder."""

    blocks: Mapping[str, GatedBlock]
    """By the decoder layer they stand before."""
    memories: Sequence[Memory]
    """One a block, in order."""
    visible: Tensor | None = None
    """Which image tokens each word may read, bool (rows, tokens, image tokens); None for all."""


def decoder_layers(decoder: Any) -> nn.ModuleList:
    """The layers of a decoder.

    Raises:
        ValueError: If they cannot be found.
    """
    count = decoder.config.num_hidden_layers
    for module in decoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise ValueError(f"{type(decoder).__name__} has no list of {count} layers")


def open_layers(decoder: Any) -> None:
    """Let each layer of a decoder take images by `KEYWORD`."""
    for number, layer in enumerate(decoder_layers(decoder)):
        layer.register_forward_pre_hook(partial(_read_before_layer, str(number)), with_kwargs=True)


def media_of(blocks: Mapping[str, GatedBlock], features: Tensor, places: Tensor) -> Media:
    """Images that stand in the words given with them.

    Args:
        blocks: Of the bridge.
        features: Of the images in the order of the words' rows, (images, tokens, width).
        places: Where they stand, bool (rows, words).

    Raises:
        ValueError: If there are not as many images as places, or a row has none.
    """
    counts = places.sum(1)
    if not counts.all():
        raise ValueError("a batch holds texts with and without an image; read them apart")
    if (wanted := int(counts.sum())) != len(features):
        raise ValueError(f"{len(features)} images came for {wanted} places in the text")
    most, tokens = int(counts.max()), features.shape[1]
    held = features.new_zeros(len(places), most, *features.shape[1:])
    held[torch.arange(most, device=counts.device) < counts[:, None]] = features
    # Each word reads the last image before it.
    last = places.cumsum(1)[:, :, None] - 1 == torch.arange(most, device=places.device)
    return Media(
        blocks=blocks,
        memories=[block.look.read(held.flatten(1, 2)) for block in blocks.values()],
        visible=last.repeat_interleave(tokens, 2),
    )


def remember(cache: DynamicCache, media: Media, *, layers: int) -> None:
    """Keep each row's last image in the cache of a decoder with so many layers."""
    del cache.layers[layers:]
    for keys, values in media.memories:
        layer = DynamicLayer()
        layer.update(*(_last_image(part, media.visible) for part in (keys, values)))
        cache.layers.append(layer)


def recall(blocks: Mapping[str, GatedBlock], cache: DynamicCache | None, *, layers: int) -> Media | None:
    """The images in a cache of `remember`; None where it has none."""
    kept: list[Any] = [] if cache is None else list(cache.layers[layers:])
    if not kept:
        return None
    return Media(blocks=blocks, memories=[(layer.keys, layer.values) for layer in kept])


def _last_image(part: Tensor, visible: Tensor | None) -> Tensor:
    """What the last word sees of keys or values, (rows, heads, image tokens, width)."""
    if visible is None:
        return part
    tokens = int(visible[:, -1].sum(1).max())
    chosen = visible[:, -1, None, :, None].expand_as(part)
    return part[chosen].view(*part.shape[:2], tokens, part.shape[3])


def _read_before_layer(
    number: str, _layer: nn.Module, given: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    media: Media | None = keywords.pop(KEYWORD, None)
    if media is None:
        return None
    if number in media.blocks:
        memory = media.memories[list(media.blocks).index(number)]
        hidden = given[0] if given else keywords.pop("hidden_states")
        given = (media.blocks[number](hidden, memory, media.visible), *given[1:])
    return given, keywords
