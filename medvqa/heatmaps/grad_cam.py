"""Which features of the tower spoke for the answer, and where: Grad-CAM (Selvaraju et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from medvqa.heatmaps.geometry import paint_tokens
from medvqa.heatmaps.making import heatmap_of
from medvqa.heatmaps.targets import ANSWER, Target, scalar_of
from medvqa.types import Heatmap

if TYPE_CHECKING:
    from medvqa.models.base import Generation
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import Image


def grad_cam_heatmap(
    model: HuggingFaceModel,
    image: Image,
    question: str,
    generation: Generation,
    *,
    target: Target = ANSWER,
) -> Heatmap:
    """Map the vision tower's features, each weighted by its mean gradient over the image.

    The features are the last that still lie on a grid in every family: the image's tokens as they are handed
    to the decoder. One weight a feature for the whole image cannot say that it mattered in one place only,
    so an answer that names a place is explained badly.

    Reference: Selvaraju et al., "Grad-CAM", ICCV 2017, equations 1 and 2.
    """
    prompt = model.prompt(image, question)
    scalar = scalar_of(target, model, generation)
    features = prompt.image.features.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(scalar.score(model, prompt, features).sum(), features)
    weights = gradient[0].float().mean(0)
    grid = model.token_grid(prompt.image)
    return heatmap_of(
        "grad_cam",
        paint_tokens(features.detach()[0].float() @ weights, model, prompt.image),
        image,
        grid=(grid.rows, grid.columns),
        explained=f"{scalar.formula}, by features of the vision tower times their mean gradient",
    )
