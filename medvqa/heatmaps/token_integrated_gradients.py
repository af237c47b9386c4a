"""What moved the answer, seen from the decoder: Integrated Gradients by captum, on the image's tokens."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from medvqa.heatmaps.baselines import BASELINES, Baseline
from medvqa.heatmaps.geometry import paint_tokens
from medvqa.heatmaps.making import heatmap_of
from medvqa.heatmaps.paths import integrate
from medvqa.heatmaps.targets import ANSWER, Target, scalar_of
from medvqa.types import Heatmap

if TYPE_CHECKING:
    from medvqa.models.base import Generation
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import Image


def token_integrated_gradients_heatmap(
    model: HuggingFaceModel,
    image: Image,
    question: str,
    generation: Generation,
    *,
    target: Target = ANSWER,
    baseline: Baseline = "mean",
) -> Heatmap:
    """Attribute what the image adds to the target, over its baseline, to the image's tokens.

    The vision tower runs twice only. A token has seen its surroundings, so the map says where the decoder
    read, which need not be where the picture shows it; the share of a global token lies nowhere and is not
    drawn. `convergence_delta` is the completeness error as a share of what the image adds.
    """
    prompt = model.prompt(image, question)
    scalar = scalar_of(target, model, generation)
    empty, described = BASELINES[baseline]
    blank = model.encode(empty(image), question).features
    attributions, error = integrate(partial(scalar.score, model, prompt), prompt.image.features, blank)
    grid = model.token_grid(prompt.image)
    return heatmap_of(
        "token_integrated_gradients",
        paint_tokens(attributions[0].sum(-1), model, prompt.image),
        image,
        grid=(grid.rows, grid.columns),
        explained=f"{scalar.formula} of the image's tokens, less that of the tokens of the image {described}",
        convergence_delta=error,
    )
