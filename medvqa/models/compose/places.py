"""Where on the image the tokens of a composed model lie, and who looks at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medvqa.models.attention import Attention, captured
from medvqa.models.layouts import TokenGrid, covered_box

if TYPE_CHECKING:
    from torch import Tensor

    from medvqa.models.encoding import EncodedImage
    from medvqa.models.network import Network


def patch_grid(processor: Any, encoded: EncodedImage) -> tuple[TokenGrid, ...]:
    """The tower's patches, whichever way the language model is told of them."""
    rows, columns = processor.grid
    box = covered_box(processor.image_processor, encoded.shape)
    return (TokenGrid(first=0, rows=rows, columns=columns, box=box),)


def query_looks(_: Network, encoded: EncodedImage) -> Tensor | None:
    """Where a Q-Former's queries look, (queries, patches); None for a bridge whose tokens are patches."""
    looks = encoded.output.query_attention
    return None if looks is None else looks[0].float()


def gated_attention(read: Any, module: Any) -> tuple[Any, tuple[Attention, ...]]:
    """Of a decoder with gated blocks before some of its layers."""
    blocks = module.bridge.blocks
    with captured(block.look for block in blocks.values()) as crossing:
        output = read(output_attentions=True)
    layers, looks = list[Attention](), iter(crossing)
    for place, weights in enumerate(output.attentions):
        if str(place) in blocks:
            layers.append(Attention(weights=next(looks), columns="memory"))
        layers.append(Attention(weights=weights))
    return output, tuple(layers)
