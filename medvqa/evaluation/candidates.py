"""What the release gate wants to know of one model: is it right, does it say so, and does it look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medvqa.cases import read_image
from medvqa.checks.faithfulness import grade_heatmap
from medvqa.checks.reliance import measure_reliance
from medvqa.evaluation.answers import answer_cases
from medvqa.evaluation.metrics import matches
from medvqa.evaluation.scoreboard import is_answerable
from medvqa.heatmaps import HEATMAPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medvqa.cases import Case
    from medvqa.models.base import Generation
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import HeatmapMethod


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """One model on the cases; arrays in their order."""

    right: NDArray[np.bool_]
    """Exact match, shape (cases,)."""
    confidence: NDArray[np.float64]
    """As it is shown with the answer, shape (cases,)."""
    effects: NDArray[np.float64]
    """Image effect in nats of the sampled cases."""
    good: NDArray[np.bool_]
    """Whether the heatmap was graded good, of the first of the sampled cases."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Places of the answerable cases whose images, and whose heatmaps, are looked at."""

    effects: NDArray[np.intp]
    heatmaps: NDArray[np.intp]


def draw_sample(cases: Sequence[Case], *, effects: int, heatmaps: int, seed: int) -> Sample:
    """Choose answerable cases at random, the same for both models."""
    places = np.array([place for place, case in enumerate(cases) if is_answerable(case)], dtype=np.intp)
    drawn = np.random.default_rng(seed).permutation(places)
    return Sample(effects=drawn[:effects], heatmaps=drawn[:heatmaps])


def measure_model(
    model: HuggingFaceModel,
    cases: Sequence[Case],
    sample: Sample,
    *,
    method: HeatmapMethod,
    seed: int = 0,
    on_done: Callable[[int], None] = lambda _: None,
) -> Measured:
    """Answer all cases; ask of the sampled what the image did; grade some heatmaps.

    Args:
        model: What is measured.
        cases: Its questions.
        sample: Which of them are looked at.
        method: Of the heatmaps.
        seed: Of random maps.
        on_done: Told how much was done, of `len(cases)` and the sizes of the samples.

    Raises:
        TrainingError: If an image cannot be read.
    """
    said = answer_cases(model, cases, controls=False, on_answered=on_done).said
    effects: list[float] = []
    for place in sample.effects:
        effects.append(_effect(model, cases[place], said[place].generation))
        on_done(1)
    good: list[bool] = []
    for place in sample.heatmaps:
        good.append(_is_good(model, cases[place], said[place].generation, method, seed=seed))
        on_done(1)
    right = [matches(one.text, case.answer) for one, case in zip(said, cases, strict=True)]
    return Measured(
        right=np.array(right),
        confidence=np.array([one.confidence for one in said]),
        effects=np.array(effects),
        good=np.array(good, dtype=bool),
    )


def _effect(model: HuggingFaceModel, case: Case, generation: Generation | None) -> float:
    """0 for what could not be asked: it was not answered from the image."""
    if generation is None:
        return 0.0
    return measure_reliance(model, read_image(case), case.question, generation).image_effect


def _is_good(
    model: HuggingFaceModel, case: Case, generation: Generation | None, method: HeatmapMethod, *, seed: int
) -> bool:
    if generation is None:
        return False
    image = read_image(case)
    heatmap = HEATMAPS[method](model, image, case.question, generation)
    return grade_heatmap(model, image, case.question, generation, heatmap, seed=seed).level == "good"
