"""Where the model looked: attention of the answer's tokens to the image's tokens."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from medvqa.heatmaps.geometry import paint, token_map
from medvqa.heatmaps.overlay import save_overlay
from medvqa.types import Heatmap

if TYPE_CHECKING:
    from medvqa.models.base import Generation
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import Image


def attention_heatmap(
    model: HuggingFaceModel, image: Image, question: str, generation: Generation
) -> Heatmap:
    """Map attention, mean over layers, heads and answer tokens, onto the image.

    Attention says where information could flow from, not that it changed the answer (Jain and Wallace,
    "Attention is not Explanation", 2019).
    """
    prompt = model.prompt(image, question)
    with torch.inference_mode():
        _, layers = model.attentions(prompt, generation.token_ids, prompt.image.features)
    attention = torch.stack([layer[0].float().mean(0) for layer in layers]).mean(0)
    predicting = attention[-len(generation.token_ids) - 1 : -1].mean(0)
    grid = model.token_grid(prompt.image)
    values = paint(token_map(predicting[model.image_positions(prompt)], grid), grid.box, image.shape)
    return Heatmap(
        method="attention",
        values=values,
        grid=(grid.rows, grid.columns),
        explained="attention of the answer's tokens to the image's, mean over layers and heads",
        draw=partial(save_overlay, image, values),
    )
