"""What moved the answer: Integrated Gradients (Sundararajan et al. 2017) by captum, on the pixels."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from captum.attr import IntegratedGradients

from medvqa.errors import ModelError
from medvqa.heatmaps.geometry import paint, pool
from medvqa.heatmaps.overlay import save_overlay
from medvqa.imaging import blank
from medvqa.types import Heatmap

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from medvqa.models.base import Generation
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import Image

STEPS = (32, 64, 128)
"""Numbers of steps along the path, tried in turn until the completeness error is at most `TOLERANCE`."""
TOLERANCE = 0.05
_VERSIONS_AT_ONCE = 16


def integrated_gradients_heatmap(
    model: HuggingFaceModel, image: Image, question: str, generation: Generation
) -> Heatmap:
    """Attribute log p(answer | image) - log p(answer | image blanked to its mean grey) to the pixels.

    Attributions are summed over each cell of the image-token grid, and what speaks for the answer is kept.
    `convergence_delta` is the completeness error as a share of that difference.

    Raises:
        ModelError: If the family's processor does not give one plain picture (1, channels, rows, columns).
    """
    prompt = model.prompt(image, question)
    pixels = prompt.image.inputs["pixel_values"]
    baseline = model.encode(blank(image)).inputs["pixel_values"]
    if pixels.ndim != 4 or len(pixels) != 1:
        raise ModelError(
            f"Integrated Gradients needs one plain picture, but {model.identity.name} reads pixel values of "
            f"shape {tuple(pixels.shape)}; ask for the attention heatmap instead"
        )

    def score(versions: Tensor) -> Tensor:
        features = model.see(prompt.image, versions)
        return model.answer_log_probabilities(prompt, generation.token_ids, features).sum(1)

    attributions, error = _attribute(score, pixels, baseline)
    grid = model.token_grid(prompt.image)
    values = paint(pool(attributions[0].sum(0), grid), grid.box, image.shape)
    return Heatmap(
        method="integrated_gradients",
        values=values,
        grid=(grid.rows, grid.columns),
        explained="log p(answer | image) - log p(answer | image blanked to its mean grey)",
        convergence_delta=error,
        draw=partial(save_overlay, image, values),
    )


def _attribute(score: Callable[[Tensor], Tensor], pixels: Tensor, baseline: Tensor) -> tuple[Tensor, float]:
    """Attributions shaped like `pixels`, and their relative completeness error."""
    with torch.inference_mode():
        gap = (score(pixels) - score(baseline)).item()
    attributions, error = pixels, float("inf")
    for steps in STEPS:
        attributions = IntegratedGradients(score).attribute(
            pixels, baseline, n_steps=steps, internal_batch_size=_VERSIONS_AT_ONCE
        )
        error = abs(attributions.sum().item() - gap) / max(abs(gap), 1e-6)
        if error <= TOLERANCE:
            break
    return attributions.detach().float(), error
