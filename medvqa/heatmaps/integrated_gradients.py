"""What moved the answer: Integrated Gradients (Sundararajan et al. 2017) by captum, on the pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from medvqa.heatmaps.baselines import BASELINES, Baseline
from medvqa.heatmaps.geometry import paint_pixels
from medvqa.heatmaps.making import heatmap_of
from medvqa.heatmaps.paths import integrate
from medvqa.heatmaps.targets import ANSWER, Target, scalar_of
from medvqa.types import Heatmap

if TYPE_CHECKING:
    from torch import Tensor

    from medvqa.models.base import Generation
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import Image


def integrated_gradients_heatmap(
    model: HuggingFaceModel,
    image: Image,
    question: str,
    generation: Generation,
    *,
    target: Target = ANSWER,
    baseline: Baseline = "mean",
) -> Heatmap:
    """Attribute what the image adds to the target, over its baseline, to the pixels.

    Attributions are summed over each cell of the image-token grid, and what speaks for the answer is kept.
    `convergence_delta` is the completeness error as a share of what the image adds.
    """
    prompt = model.prompt(image, question)
    scalar = scalar_of(target, model, generation)
    empty, described = BASELINES[baseline]

    def score(versions: Tensor) -> Tensor:
        # Convolutions are a third faster with channels last.
        if versions.ndim == 4:
            versions = versions.contiguous(memory_format=torch.channels_last)
        return scalar.score(model, prompt, model.see(prompt.image, versions))

    attributions, error = integrate(
        score, prompt.image.inputs["pixel_values"], model.pixel_values(empty(image))
    )
    grid = model.token_grid(prompt.image)
    return heatmap_of(
        "integrated_gradients",
        paint_pixels(attributions, model, prompt.image),
        image,
        grid=(grid.rows, grid.columns),
        explained=f"{scalar.formula} of the image, less that of the image {described}",
        convergence_delta=error,
    )
