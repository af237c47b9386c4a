"""Which of the looks mattered: attention weighted by its gradient (Chefer et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from medvqa.heatmaps.attention import predicting
from medvqa.heatmaps.geometry import paint_tokens
from medvqa.heatmaps.making import heatmap_of
from medvqa.heatmaps.targets import ANSWER, Target, Term, scalar_of
from medvqa.models.attention import carry_back
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
    weights = [layer.weights for layer in layers]
    # Layers before the first that looks at the image have no part in what comes from it.
    reached = [one for one in weights if one.requires_grad]
    gradients = iter(torch.autograd.grad(log_probabilities[0, term.tokens].sum(), reached))
    useful = [
        (one.detach() * (next(gradients) if one.requires_grad else 0))[0].float().clamp(min=0).mean(0)
        for one in weights
    ]
    return model.image_relevance(carry_back(layers, useful, predicting(term), kept=1, passed=1), prompt)
