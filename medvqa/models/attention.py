"""What tokens attend to, layer by layer, whichever way a decoder reads the image."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch

if TYPE_CHECKING:
    from torch import Tensor

Tokens: TypeAlias = Literal["words", "memory"]
"""`words`: what the decoder reads from left to right, prompt and answer. `memory`: what it only looks up by
cross-attention, be it the image's tokens or an encoder's."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attention:
    """The weights of one layer."""

    weights: Tensor
    """Shape (1, heads, tokens that look, tokens looked at); each row sums to 1."""
    rows: Tokens = "words"
    """Which tokens look."""
    columns: Tokens = "words"
    """Which are looked at."""


def carry_back(
    layers: Sequence[Attention], matrices: Sequence[Tensor], rows: slice, *, kept: float, passed: float
) -> dict[Tokens, Tensor]:
    """Follow the words `rows` back through layers to the tokens that they stem from.

    Args:
        layers: In the order in which they were computed.
        matrices: One a layer, (tokens that look, tokens looked at): what a token takes from each.
        rows: Which words of the last layer.
        kept: Share that a token keeps for itself in each layer.
        passed: Share of what it takes from others.

    Returns:
        What each of the rows stems from, (rows, tokens), among the words and in the memory.
    """
    sizes: dict[Tokens, int] = {"words": 0, "memory": 0}
    for layer in layers:
        sizes[layer.rows], sizes[layer.columns] = layer.weights.shape[-2:]
    start = torch.eye(sizes["words"], device=matrices[0].device)[rows]
    flow: dict[Tokens, Tensor] = {"words": start, "memory": start.new_zeros(len(start), sizes["memory"])}
    for layer, matrix in zip(reversed(layers), reversed(matrices), strict=True):
        taken = flow[layer.rows] @ matrix * passed
        flow[layer.rows] = flow[layer.rows] * kept
        flow[layer.columns] = flow[layer.columns] + taken
    return flow


@contextmanager
def captured(modules: Iterable[Any]) -> Generator[list[Tensor]]:
    """A list that fills with the second output of each of the modules, which is its attention."""
    weights: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _, __, output: weights.append(output[1])) for module in modules
    ]
    try:
        yield weights
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def eager_attention(module: Any) -> Generator[None]:
    """Switch a module of transformers, since its fused kernels return no attention weights."""
    before = module.config._attn_implementation
    module.config._attn_implementation = "eager"
    try:
        yield
    finally:
        module.config._attn_implementation = before


Layers: TypeAlias = tuple[Attention, ...]


def among_words(read: Any, _: Any) -> tuple[Any, Layers]:
    """Of a decoder that reads image tokens as words."""
    output = read(output_attentions=True)
    return output, tuple(Attention(weights=weights) for weights in output.attentions)


def in_language_model(read: Any, _: Any) -> tuple[Any, Layers]:
    """The same, where the decoder's outputs are kept apart."""
    output = read(output_attentions=True)
    return output, tuple(Attention(weights=weights) for weights in output.language_model_outputs.attentions)


def by_layer(read: Any, module: Any) -> tuple[Any, Layers]:
    """Of a decoder some of whose layers look at the image and not at words, as Mllama's."""
    output = read(output_attentions=True)
    crossing = module.config.text_config.cross_attention_layers
    return output, tuple(
        Attention(weights=weights, columns="memory" if place in crossing else "words")
        for place, weights in enumerate(output.attentions)
    )


def before_layers(read: Any, module: Any) -> tuple[Any, Layers]:
    """Of a decoder that looks at the image before every so many layers, as Flamingo's."""
    core = module.model
    with captured(block.cross_attn for block in core.gated_cross_attn_layers) as crossing:
        output = read(output_attentions=True)
    layers: list[Attention] = []
    for place, weights in enumerate(output.attentions):
        if place % core.cross_layer_interval == 0:
            crossed = crossing[place // core.cross_layer_interval]
            layers.append(Attention(weights=crossed, columns="memory"))
        layers.append(Attention(weights=weights))
    return output, tuple(layers)


def of_encoder_and_decoder(read: Any, _: Any) -> tuple[Any, Layers]:
    """Of an encoder that reads image and prompt, and a decoder that looks at what it made of them."""
    output = read(output_attentions=True)
    encoder = [Attention(weights=one, rows="memory", columns="memory") for one in output.encoder_attentions]
    decoder = [
        layer
        for own, crossed in zip(output.decoder_attentions, output.cross_attentions, strict=True)
        for layer in (Attention(weights=own), Attention(weights=crossed, columns="memory"))
    ]
    return output, (*encoder, *decoder)
