"""Whether a method's maps depend on what the model learned (Adebayo et al. 2018, "Sanity checks").

A method that draws much the same for a model with random weights draws the image, not the model. It is
measured once for a model and a method, and kept in `Calibration.randomisation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.stats import spearmanr

from medvqa.checks.hiding import cell_edges, cell_means
from medvqa.heatmaps import HEATMAPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import HeatmapMethod, Image

STAGES = (0.25, 0.5, 0.75, 1.0)
"""Shares of the model's parameters that are random, counted from its output back to the pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Randomisation:
    """How alike a method's maps are to those of the model with more and more random weights."""

    method: HeatmapMethod
    correlations: tuple[float, ...]
    """Spearman's, over cells, mean over images, in [-1, 1]; one for each of `STAGES`."""

    @property
    def outlasting(self) -> float:
        """With all weights random: what `Calibration.randomisation` keeps."""
        return self.correlations[-1]


def randomise(
    model: HuggingFaceModel,
    asked: Sequence[tuple[Image, str]],
    methods: Sequence[HeatmapMethod],
    *,
    seed: int = 0,
) -> tuple[Randomisation, ...]:
    """Compare each method's maps with those of the model with random weights, for the model's own answers.

    Args:
        model: It stays as it is; a copy is randomised.
        asked: Images with questions about them, at least one.
        methods: What to compare.
        seed: Of the random weights.
    """
    said = [(image, question, model.generate(image, question)) for image, question in asked]
    edges = [cell_edges(model, image) for image, _ in asked]

    def draw(one: HuggingFaceModel, method: HeatmapMethod) -> list[Any]:
        maps = [HEATMAPS[method](one, image, question, answer) for image, question, answer in said]
        return [cell_means(heatmap.values, cuts) for heatmap, cuts in zip(maps, edges, strict=True)]

    before = {method: draw(model, method) for method in methods}
    alike: dict[HeatmapMethod, list[float]] = {method: [] for method in methods}
    for share in STAGES:
        altered = model.altered(lambda module, share=share: shuffle_weights(module, share=share, seed=seed))
        for method in methods:
            pairs = zip(before[method], draw(altered, method), strict=True)
            alike[method].append(float(np.mean([_correlate(one, other) for one, other in pairs])))
    return tuple(Randomisation(method=method, correlations=tuple(found)) for method, found in alike.items())


def shuffle_weights(module: torch.nn.Module, *, share: float, seed: int) -> None:
    """Shuffle each parameter tensor's own values in the last `share` of a module's parameters, in place.

    Shuffled weights keep their scale, so that the model still computes and is only ignorant. Parameters are
    taken in the order of their registration, from the last on: that is from output to input in every family.
    """
    tensors = list(module.parameters())[::-1]
    total, done = sum(tensor.numel() for tensor in tensors), 0
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in tensors:
            if done >= share * total:
                return
            order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
            tensor.copy_(tensor.flatten()[order].reshape(tensor.shape))
            done += tensor.numel()


def _correlate(one: Any, other: Any) -> float:
    """0 where a map is the same everywhere: then nothing of the other outlasts."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    found: Any = spearmanr(one.ravel(), other.ravel())
    return float(found.statistic)
