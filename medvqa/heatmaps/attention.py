"""Where the model looked: attention of the answer's tokens to the image's tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

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


def attention_heatmap(
    model: HuggingFaceModel,
    image: Image,
    question: str,
    generation: Generation,
    *,
    target: Target = ANSWER,
) -> Heatmap:
    """Map attention, mean over heads, tokens and layers (the calibrated ones, or all), onto the image.

    Attention says where information could flow from, not that it changed the answer (Jain and Wallace,
    "Attention is not Explanation", 2019). For a contrast, that of the other answer is taken away.
    """
    prompt = model.prompt(image, question)
    scalar = scalar_of(target, model, generation)
    layers = model.calibration.attention_layers if model.calibration else None
    with torch.inference_mode():
        look = scalar.add_up(lambda term: _look(model, prompt, term, layers))
    grid = model.token_grid(prompt.image)
    averaged = "layers" if layers is None else f"layers {', '.join(str(layer + 1) for layer in layers)}"
    return heatmap_of(
        "attention",
        paint_tokens(look, model, prompt.image),
        image,
        grid=(grid.rows, grid.columns),
        explained=f"attention while predicting {scalar.predicted}, mean over {averaged} and heads",
    )


def predicting(term: Term) -> slice:
    """Rows of an attention matrix (prompt and answer) that predict the tokens of `term`."""
    length = len(term.token_ids)
    first, stop, _ = term.tokens.indices(length)
    return slice(first - length - 1, stop - length - 1)


def _look(model: HuggingFaceModel, prompt: Prompt, term: Term, layers: tuple[int, ...] | None) -> Tensor:
    """Attention to each image token, shape (tokens,)."""
    weights = model.looks(prompt, term.token_ids)
    chosen = weights if layers is None else [weights[layer] for layer in layers]
    mean = torch.stack([layer[0].float().mean(0) for layer in chosen]).mean(0)
    return mean[predicting(term)].mean(0)[model.image_positions(prompt)]
