"""What familiar images look like, learned from images like those of training, and how often it errs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.datasets import load_sample_images

from medvqa.checks.familiarity import image_features, measure_distance
from medvqa.models.calibration import Familiarity
from medvqa.training.held_out import SIDE
from medvqa.training.pictures import make_phantoms, to_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medvqa.evaluation.questions import Progress, Subject
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import Image

REFUSED_SHARE = 0.03
"""Of familiar images, the share that the threshold refuses."""


def fit_familiarity(
    model: HuggingFaceModel, familiar: Sequence[Subject], held_out: Sequence[Subject], progress: Progress
) -> tuple[Familiarity, dict[str, Any]]:
    """Fit a Gaussian a kind with one shrunk covariance, and choose the distance that is too far.

    Args:
        model: Its image tokens are what is looked at.
        familiar: Images that the Gaussians are fitted on.
        held_out: Others like them: of one half of their groups the threshold is a quantile, of the other half
            the share refused is measured.
        progress: Told of every image.

    Returns:
        What to keep, and what was measured, noise and two photographs (scikit-learn's) among it.

    Reference: Ledoit and Wolf 2004, A well-conditioned estimator for large-dimensional covariance matrices.
    """
    count = len(familiar) + len(held_out)
    features: list[np.ndarray[Any, Any]] = []
    for subject in (*familiar, *held_out):
        features.append(image_features(model, subject.read()))
        progress(len(features), count)
    fitted, others = np.stack(features[: len(familiar)]), features[len(familiar) :]
    kinds = tuple(sorted({subject.kind for subject in familiar}))
    kind = np.array([kinds.index(subject.kind) for subject in familiar])
    means = np.stack([fitted[kind == number].mean(0) for number in range(len(kinds))])
    shrunk = LedoitWolf(assume_centered=True).fit(fitted - means[kind])
    known = Familiarity(
        threshold=0.0,
        kinds=kinds,
        means=means.astype(np.float32),
        precision=np.asarray(shrunk.precision_, dtype=np.float32),
    )
    distances = np.array([measure_distance(one, known) for one in others])
    chosen = first_half([subject.group for subject in held_out])
    threshold = float(np.quantile(distances[chosen], 1 - REFUSED_SHARE, method="higher"))
    known = replace(known, threshold=threshold)
    return known, _measure(model, known, fitted_on=len(familiar), held_out=distances[~chosen])


def first_half(groups: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which belong to the first half of the groups, in order of appearance."""
    order = list(dict.fromkeys(groups))
    half = set(order[: (len(order) + 1) // 2])
    return np.array([group in half for group in groups], dtype=bool)


def _measure(
    model: HuggingFaceModel, known: Familiarity, *, fitted_on: int, held_out: np.ndarray[Any, Any]
) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    noise = [rng.random((128, 128)) for _ in range(20)]
    photographs = [picture / 255 for picture in load_sample_images().images]
    strange = {
        name: [measure_distance(image_features(model, _shown(one)), known) for one in pictures]
        for name, pictures in (("noise", noise), ("photographs", photographs))
    }
    return {
        "images_fitted": fitted_on,
        "images_measured": len(held_out),
        "threshold": round(known.threshold, 2),
        "familiar_refused": round(float(np.mean(held_out > known.threshold)), 4),
        "familiar_median": round(float(np.median(held_out)), 2),
        "noise_refused": float(np.mean(np.array(strange["noise"]) > known.threshold)),
        "photograph_distances": [round(distance, 2) for distance in strange["photographs"]],
    }


def _shown(pixels: np.ndarray[Any, Any]) -> Image:
    """A picture of nobody."""
    (phantom,) = make_phantoms(1, np.random.default_rng(0), side=SIDE)
    return replace(to_image(phantom), pixels=pixels.astype(np.float32))
