"""Image towers of any kind: which of their tokens are patches, and how these lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medvqa.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from medvqa.models.compose.configuration import ComposedConfig


_MOST_GLOBAL = 8
"""More than any tower in use has: one for the class, and four registers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchGrid:
    """How the tokens of a tower lie."""

    rows: int
    columns: int
    global_tokens: int
    """Before the patches: those of the class, and registers."""
    width: int
    """Of a token."""


def grid_of(seen: Tensor, *, height: int, width: int, patch_size: int | None) -> PatchGrid:
    """The grid of what a tower returned.

    Args:
        seen: Its last hidden state, (images, tokens, width), or (images, width, rows, columns) of a network
            of convolutions.
        height: Of the picture in pixels.
        width: Likewise.
        patch_size: Edge of a patch, where the tower has such.

    Raises:
        ModelError: If the tokens are no grid.
    """
    if seen.ndim == 4:
        _, channels, rows, columns = seen.shape
        return PatchGrid(rows=rows, columns=columns, global_tokens=0, width=channels)
    tokens = seen.shape[1]
    rows, columns = (height // patch_size, width // patch_size) if patch_size else (0, 0)
    if not 0 < rows * columns <= tokens:
        rows = columns = math.isqrt(tokens)
    spare = tokens - rows * columns
    if spare > _MOST_GLOBAL:
        raise ModelError(
            f"the vision tower returns {tokens} tokens, which are no grid of patches; choose another, such "
            "as a CLIP, SigLIP, ViT or MobileViT"
        )
    return PatchGrid(rows=rows, columns=columns, global_tokens=spare, width=seen.shape[2])


def patches_of(seen: Tensor, config: ComposedConfig) -> Tensor:
    """Patches in reading order, (images, patches, width), of what the tower of `config` returned."""
    if seen.ndim == 4:
        return seen.flatten(2).transpose(1, 2)
    return seen[:, config.global_tokens :]


def vision_part(model: Any) -> Any:
    """The image tower of a model, such as of a CLIP, that also reads text."""
    return getattr(model, "vision_model", None) or getattr(model, "vision_tower", None) or model
