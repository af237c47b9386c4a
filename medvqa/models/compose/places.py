"""Where on the image the tokens of a composed model lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medvqa.models.layouts import TokenGrid, covered_box

if TYPE_CHECKING:
    from torch import Tensor

    from medvqa.models.encoding import EncodedImage


def patch_grid(processor: Any, encoded: EncodedImage) -> tuple[TokenGrid, ...]:
    """The tower's patches, whichever way the language model is told of them."""
    rows, columns = processor.grid
    box = covered_box(processor.image_processor, encoded.shape)
    return (TokenGrid(first=0, rows=rows, columns=columns, box=box),)


def on_patches(scores: Tensor, encoded: EncodedImage) -> Tensor:
    """Scores of the image's tokens, (tokens,), as scores of patches, (patches,).

    The score of a query of a Q-Former is shared out among the patches that it looks at.
    """
    looks = encoded.output.query_attention
    return scores if looks is None else scores.to(looks.dtype) @ looks[0]
