"""Which part of an image speaks for one of several texts: occlusion for contrastive models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

from medvqa.errors import QuestionError
from medvqa.heatmaps.baselines import BASELINES, Baseline
from medvqa.heatmaps.geometry import paint
from medvqa.heatmaps.making import heatmap_of
from medvqa.heatmaps.occlusion import MOST_CELLS, hide_cells
from medvqa.models.layouts import WHOLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medvqa.models.contrastive import ContrastiveModel
    from medvqa.types import Heatmap, Image

_ROUNDING = 1e-4
"""Nats that a cell which the model never saw may seem to matter: a cosine's last bit, times 100 or so."""


def choice_heatmap(
    model: ContrastiveModel,
    image: Image,
    options: Sequence[str],
    option: str,
    *,
    baseline: Baseline = "mean",
) -> Heatmap:
    """Map how much an option's log-probability among all falls when each cell of the picture is hidden.

    The picture itself is changed, on a grid of 8 x 8 over the whole image, and seen anew: so the map is where
    it says, whatever the model's processor crops or resizes, and what the model never saw stays 0.

    Args:
        model: What chose.
        image: As it was shown.
        options: All that were offered, as for `ContrastiveModel.choose`.
        option: The one to explain.
        baseline: What a hidden cell shows.

    Raises:
        QuestionError: If `option` is not among the options, or they will not do.

    Reference: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.
    """
    if option not in options:
        raise QuestionError(f"{option!r} is not one of the options; explain one that was offered")
    empty, described = BASELINES[baseline]
    cells = (min(image.shape[0], MOST_CELLS), min(image.shape[1], MOST_CELLS))
    versions = [image, *hide_cells(image, empty(image).pixels, WHOLE, cells)]
    cosines = model.embed_images(versions) @ model.embed_texts(options).T
    scores = model.logits(cosines).log_softmax(1)[:, list(options).index(option)]
    losses = functional.hardshrink((scores[0] - scores[1:]).float(), _ROUNDING)
    return heatmap_of(
        "occlusion",
        paint(losses.reshape(cells), WHOLE, image.shape),
        image,
        grid=cells,
        explained=f"log p({option!r} among {len(options)} options) of the image, "
        f"less that with a cell {described}",
    )
