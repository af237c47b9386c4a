"""Whether heatmaps mark simulated findings, whose place is known: pointing, overlap, grades and seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt

from medvqa.checks.faithfulness import Trial, grade_heatmap, probability
from medvqa.heatmaps import HEATMAPS
from medvqa.heatmaps.targets import ANSWER
from medvqa.study import read_study

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from medvqa.models.base import Generation
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.simulated_findings import SimulatedFinding
    from medvqa.types import HeatmapLevel, HeatmapMethod, Image, Pixels

_SCATTERED = 10
"""Random masks of independent cells, none of them used for a grade, that deletion is compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How a map lies to the finding."""

    points: float
    """1 if the map's highest pixel is in the finding grown by half a token cell, else 0; several highest
    pixels count by their share."""
    points_strictly: float
    """The same for the finding itself."""
    overlap: float
    """Intersection over union of the finding and as many of the map's highest pixels, in [0, 1]."""
    energy: float
    """Share of the map's sum in the finding, in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """One method's map for one answer about one finding."""

    finding: int
    """Number in its folder."""
    method: HeatmapMethod
    right: bool
    """Whether the answer was."""
    overlap: Overlap
    level: HeatmapLevel
    deletion_auc: float
    insertion_auc: float
    beats_scattered: bool
    """Whether its deletion AUC is lower than the mean of fresh random masks of independent cells."""
    infidelity: float | None
    seconds: float
    """For the map, without its grade."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """What maps that know nothing come to for one finding."""

    finding: int
    chance: Overlap
    """A map that is the same everywhere: shares of the image's area."""
    centre: Overlap
    """A map that always marks the image's centre (a Gaussian a quarter of the image wide)."""


def locate(
    model: HuggingFaceModel, finding: SimulatedFinding, methods: Sequence[HeatmapMethod], *, seed: int = 0
) -> tuple[Baselines, list[Located]]:
    """Ask where a finding is, explain the answer by each method, and compare with the truth.

    Raises:
        DicomError: If an image or mask cannot be read.
    """
    image, mask = read_study(finding.image).images[0], finding.mask()
    asked = next(one for one in finding.questions if one.question.startswith("Where"))
    generation = model.generate(image, asked.question)
    grid = model.token_grid(model.encode(image))
    cell = max(image.shape[0] / grid.rows, image.shape[1] / grid.columns)
    grown = np.asarray(distance_transform_edt(~mask)) <= cell / 2
    baselines = Baselines(
        finding=finding.number,
        chance=_compare(np.ones(image.shape, dtype=np.float32), mask, grown),
        centre=_compare(_centre(image.shape), mask, grown),
    )
    scattered = _scattered_deletion(model, image, asked.question, generation, seed)
    right = says(generation.text, asked.answer)
    located: list[Located] = []
    for method in methods:
        started = time.perf_counter()
        heatmap = HEATMAPS[method](model, image, asked.question, generation)
        seconds = time.perf_counter() - started
        grade = grade_heatmap(model, image, asked.question, generation, heatmap, seed=seed)
        one = Located(
            finding=finding.number,
            method=method,
            right=right,
            overlap=_compare(heatmap.values, mask, grown),
            level=grade.level,
            deletion_auc=grade.curves.deletion_auc,
            insertion_auc=grade.curves.insertion_auc,
            beats_scattered=grade.curves.deletion_auc < scattered,
            infidelity=grade.infidelity,
            seconds=seconds,
        )
        located.append(one)
    return baselines, located


def says(text: str, answer: str) -> bool:
    """Whether two answers are the same but for case and full stop."""
    return text.strip(" .").casefold() == answer.strip(" .").casefold()


def _scattered_deletion(
    model: HuggingFaceModel, image: Image, question: str, generation: Generation, seed: int
) -> float:
    """Mean deletion AUC of random masks."""
    trial = Trial(model, image, probability(model, image, question, generation, ANSWER), seed=seed)
    curves = trial.measure([trial.rng.random(trial.cells.shape) for _ in range(_SCATTERED)])
    return float(np.mean([one.deletion_auc for one in curves]))


def _compare(values: Pixels, mask: NDArray[np.bool_], grown: NDArray[np.bool_]) -> Overlap:
    highest = values == values.max()
    found = _highest(values, int(mask.sum()))
    total = float(values.sum(dtype=np.float64))
    return Overlap(
        points=float(grown[highest].mean()),
        points_strictly=float(mask[highest].mean()),
        overlap=float((found & mask).sum() / (found | mask).sum()),
        energy=float(values[mask].sum(dtype=np.float64)) / total if total > 0 else 0.0,
    )


def _highest(values: Pixels, count: int) -> NDArray[np.bool_]:
    """The highest `count` pixels, ties at random."""
    noise = np.random.default_rng(0).random(values.size)
    chosen = np.zeros(values.size, dtype=bool)
    chosen[np.lexsort((noise, -values.ravel()))[:count]] = True
    return chosen.reshape(values.shape)


def _centre(shape: tuple[int, int]) -> Pixels:
    rows, columns = (np.linspace(-2, 2, size) for size in shape)
    return np.exp(-(rows[:, None] ** 2 + columns[None] ** 2) / 2).astype(np.float32)


def each_method(located: Sequence[Located]) -> Iterator[tuple[HeatmapMethod, list[Located]]]:
    """Results by method, in the order of `HEATMAPS`."""
    for method in HEATMAPS:
        chosen = [one for one in located if one.method == method]
        if chosen:
            yield method, chosen
