"""Which of the looks mattered: attention weighted by its gradient (Chefer et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from medvqa.heatmaps.attention import predicting
from medvqa.heatmaps.geometry import paint_tokens
from medvqa.heatmaps.making import heatmap_of
from medvqa.heatmaps.targets import ANSWER, Target, Term, scalar_of
from medvqa.types import Heatmap

if TYPE_CHECKING:
    from torch import Tensor

    from medvqa.models.base import Generation
    from medvqa.models.encoding import Prompt
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import Image


def relevancy_heatmap(
    model: HuggingFaceModel,
    image: Image,
    question: str,
    generation: Generation,
    *,
    target: Target = ANSWER,
) -> Heatmap:
    """Map how relevant each image token is to the target, through every layer's attention.

    A layer adds the mean over heads of attention times its gradient where that is positive. For a contrast,
    the relevancy of the other answer is taken away.

    Reference: Chefer, Gur and Wolf, "Generic Attention-model Explainability", ICCV 2021, equations 5 and 6.
    """
    prompt = model.prompt(image, question)
    scalar = scalar_of(target, model, generation)
    relevancy = scalar.add_up(lambda term: _relevancy(model, prompt, term))
    grid = model.token_grid(prompt.image)
    return heatmap_of(
        "relevancy",
        paint_tokens(relevancy, model, prompt.image),
        image,
        grid=(grid.rows, grid.columns),
        explained=f"{scalar.formula}, by attention times its gradient",
    )


def _relevancy(model: HuggingFaceModel, prompt: Prompt, term: Term) -> Tensor:
    """Relevancy of each image token at the predicting positions, shape (tokens,)."""
    features = prompt.image.features.detach().clone().requires_grad_()
    log_probabilities, layers = model.attentions(prompt, term.token_ids, features)
    gradients = torch.autograd.grad(log_probabilities[0, term.tokens].sum(), layers)
    tokens = layers[0].shape[-1]
    relevancy = torch.eye(tokens, device=features.device)[predicting(term)]
    for layer, gradient in zip(reversed(layers), reversed(gradients), strict=True):
        useful = (layer.detach() * gradient)[0].float().clamp(min=0).mean(0)
        relevancy = relevancy + relevancy @ useful
    return relevancy.mean(0)[model.image_positions(prompt)]
