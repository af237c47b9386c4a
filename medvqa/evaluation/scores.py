"""What is measured on simulated findings, as means with 95 % bootstrap intervals by image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from medvqa.evaluation.counterfactuals import compare_mirrored, compare_without
from medvqa.evaluation.intervals import Interval, mean_with_interval
from medvqa.evaluation.localisation import Overlap, each_method, locate

if TYPE_CHECKING:
    from medvqa.evaluation.counterfactuals import Counterfactual
    from medvqa.evaluation.localisation import Located
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.simulated_findings import SimulatedFinding
    from medvqa.types import HeatmapMethod

_OVERLAPS: Mapping[str, Callable[[Overlap], float]] = MappingProxyType(
    {
        "pointing": lambda one: one.points,
        "pointing_strict": lambda one: one.points_strictly,
        "overlap": lambda one: one.overlap,
        "energy": lambda one: one.energy,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Figures of one model on one set of simulated findings."""

    maps: Mapping[str, Mapping[str, Interval | None]]
    """By `chance`, `centre` or method, then by figure. Of `maps` without truth, `good` is the share graded
    good, and `good_beats_random` the share of those whose deletion AUC is lower than that of fresh masks."""
    answers: Mapping[str, Interval | None]
    """`right`; `flipped_without` and `flipped_mirrored`, the share of pairs whose answer changed as it must
    when the finding was taken away or the image mirrored; `right_without`, `right_mirrored`, both right."""


def score(
    model: HuggingFaceModel,
    findings: Sequence[SimulatedFinding],
    methods: Sequence[HeatmapMethod],
    *,
    seed: int = 0,
    on_scored: Callable[[], None] = lambda: None,
) -> Scores:
    """Measure answers, and heatmaps where `methods` names any; `on_scored` is called after each finding.

    Raises:
        DicomError: If an image or mask cannot be read.
    """
    located: list[Located] = []
    known: dict[str, list[Overlap]] = {"chance": [], "centre": []}
    without: list[Counterfactual] = []
    mirrored: list[Counterfactual] = []
    for finding in findings:
        if methods:
            baselines, found = locate(model, finding, methods, seed=seed)
            located += found
            known["chance"].append(baselines.chance)
            known["centre"].append(baselines.centre)
        without += compare_without(model, finding)
        mirrored += compare_mirrored(model, finding)
        on_scored()
    maps = {name: _overlaps(overlaps, seed) for name, overlaps in known.items() if overlaps}
    maps |= {method: _summarise(chosen, seed) for method, chosen in each_method(located)}
    return Scores(maps=maps, answers=_answers(without, mirrored, seed))


def _overlaps(overlaps: Sequence[Overlap], seed: int) -> dict[str, Interval | None]:
    return {
        name: mean_with_interval([figure(one) for one in overlaps], seed=seed)
        for name, figure in _OVERLAPS.items()
    }


def _summarise(located: Sequence[Located], seed: int) -> dict[str, Interval | None]:
    good = [one for one in located if one.level == "good"]
    figures = {
        "good": [one.level == "good" for one in located],
        "chance": [one.level == "chance" for one in located],
        "good_beats_random": [one.beats_scattered for one in good],
        "pointing_where_good": [one.overlap.points for one in good],
        "deletion_auc": [one.deletion_auc for one in located],
        "insertion_auc": [one.insertion_auc for one in located],
        "seconds": [one.seconds for one in located],
    }
    return {
        **_overlaps([one.overlap for one in located], seed),
        **{name: mean_with_interval([*map(float, values)], seed=seed) for name, values in figures.items()},
    }


def _answers(
    without: Sequence[Counterfactual], mirrored: Sequence[Counterfactual], seed: int
) -> dict[str, Interval | None]:
    return {
        f"{figure}_{name}": mean_with_interval(_by_finding(pairs, figure), seed=seed)
        for name, pairs in (("without", without), ("mirrored", mirrored))
        for figure in ("flipped", "both_right")
    }


def _by_finding(pairs: Sequence[Counterfactual], figure: str) -> list[float]:
    """Mean of each finding's questions, since those of one image are not independent."""
    values: dict[int, list[float]] = {}
    for pair in pairs:
        values.setdefault(pair.finding, []).append(float(getattr(pair, figure)))
    return [sum(one) / len(one) for one in values.values()]
