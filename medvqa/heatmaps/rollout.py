"""Where the model looked, through all layers: attention rollout (Abnar and Zuidema 2020)."""

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


def rollout_heatmap(
    model: HuggingFaceModel,
    image: Image,
    question: str,
    generation: Generation,
    *,
    target: Target = ANSWER,
) -> Heatmap:
    """Map attention multiplied through the layers, half of each being the residual stream.

    For a contrast, that of the other answer is taken away.

    Reference: Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020.
    """
    prompt = model.prompt(image, question)
    scalar = scalar_of(target, model, generation)
    with torch.inference_mode():
        flow = scalar.add_up(lambda term: _flow(model, prompt, term))
    grid = model.token_grid(prompt.image)
    return heatmap_of(
        "rollout",
        paint_tokens(flow, model, prompt.image),
        image,
        grid=(grid.rows, grid.columns),
        explained=f"attention while predicting {scalar.predicted}, rolled out through all layers",
    )


def _flow(model: HuggingFaceModel, prompt: Prompt, term: Term) -> Tensor:
    """What reaches the predicting positions from each image token, shape (tokens,)."""
    _, layers = model.attentions(prompt, term.token_ids, prompt.image.features)
    heads = [layer.weights[0].float().mean(0) for layer in layers]
    return model.image_relevance(carry_back(layers, heads, predicting(term), kept=0.5, passed=0.5), prompt)
