"""The release gate: two models on the same cases, and whether the second may take the first one's place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy.stats import binomtest

from medvqa.checks.verdict import BLIND_BELOW
from medvqa.evaluation.calibration import calibration_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medvqa.cases import Case
    from medvqa.evaluation.candidates import Measured, Sample

RESAMPLES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """How far each figure may fall, or rise where less of it is better."""

    accuracy: float = 0.0
    worst_kind: float = 0.05
    any_kind: float = 0.05
    calibration_error: float = 0.02
    image_blind: float = 0.05
    image_effect: float = 0.2
    """Share of A's, since nats have no scale of their own."""
    good_heatmaps: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One figure of both models."""

    name: str
    first: float
    second: float
    change: float
    interval: tuple[float, float]
    """95 % of the change, by paired bootstrap, groups resampled."""
    tolerance: float
    worse: float
    """Share of the resamples in which it is worse by more than the tolerance."""
    refused: bool
    """Whether that share is as high as the certainty asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Both models, and the gate's word."""

    figures: tuple[Compared, ...]
    only_first: int
    """Cases that the first alone has right."""
    only_second: int
    mcnemar: float
    """Exact two-sided p-value of McNemar's test on exact match; it takes cases for independent."""
    cases: int
    groups: int
    sampled: int
    heatmaps: int
    certainty: float

    @property
    def passes(self) -> bool:
        """Whether nothing fell by more than it may."""
        return not any(figure.refused for figure in self.figures)


def compare(
    cases: Sequence[Case],
    sample: Sample,
    first: Measured,
    second: Measured,
    *,
    tolerances: Tolerances = Tolerances(),  # frozen
    certainty: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Put two models side by side.

    A figure is refused where in at least `certainty` of the resamples the second model is worse by more than
    the tolerance. Of the kinds of question each is tested, with the certainty that Bonferroni asks for; the
    one that fell most stands in the table.

    Args:
        cases: What both were asked.
        sample: Whose images and heatmaps were looked at.
        first: The model that is there.
        second: The one that would take its place.
        tolerances: How far each figure may fall.
        certainty: In (0.5, 1).
        seed: Of the bootstrap.

    Reference: Sagawa et al. 2020 for accuracy of the worst group; McNemar 1947.
    """
    groups = np.array([case.group for case in cases])
    kinds = np.array([case.kind for case in cases])
    gate = _Gate(certainty=certainty, seed=seed, pair=(first, second))
    everything = np.arange(len(cases))
    names = sorted(set(kinds))

    def by_kind(one: Measured, at: NDArray[np.intp]) -> float:
        shares = [one.right[at][kinds[at] == kind].mean() for kind in names if (kinds[at] == kind).any()]
        return float(min(shares))

    figures = [
        gate.judge("accuracy", _accuracy, groups, everything, tolerances.accuracy),
        gate.judge("accuracy of the worst kind", by_kind, groups, everything, tolerances.worst_kind),
        _most_fallen(gate, groups, kinds, tolerances.any_kind),
        gate.judge("calibration error", _ece, groups, everything, tolerances.calibration_error, -1),
    ]
    if len(sample.effects):
        sampled, places = groups[sample.effects], np.arange(len(sample.effects))
        least = tolerances.image_effect * abs(float(first.effects.mean()))
        figures += [
            gate.judge("image-blind answers", _blind, sampled, places, tolerances.image_blind, -1),
            gate.judge("mean image effect, nats", _effect, sampled, places, least),
        ]
    if len(sample.heatmaps):
        drawn, places = groups[sample.heatmaps], np.arange(len(sample.heatmaps))
        figures.append(gate.judge("heatmaps graded good", _good, drawn, places, tolerances.good_heatmaps))
    lost, won = int((first.right & ~second.right).sum()), int((~first.right & second.right).sum())
    return Comparison(
        figures=tuple(figures),
        only_first=lost,
        only_second=won,
        mcnemar=float(binomtest(won, lost + won).pvalue) if lost + won else 1.0,
        cases=len(cases),
        groups=len(set(groups)),
        sampled=len(sample.effects),
        heatmaps=len(sample.heatmaps),
        certainty=certainty,
    )


_Figure: TypeAlias = Callable[["Measured", "NDArray[np.intp]"], float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Gate:
    """Judges one figure after the other on the same resamples."""

    certainty: float
    seed: int
    pair: tuple[Measured, Measured]
    drawn: dict[tuple[bytes, bytes], list[NDArray[np.intp]]] = field(default_factory=dict[Any, Any])

    def judge(
        self,
        name: str,
        figure: _Figure,
        groups: NDArray[Any],
        places: NDArray[np.intp],
        tolerance: float,
        sign: int = 1,
        *,
        certainty: float | None = None,
    ) -> Compared:
        """`sign` is 1 where more of the figure is better, else -1."""
        first, second = (figure(one, places) for one in self.pair)
        changes = np.array(
            [
                figure(self.pair[1], chosen) - figure(self.pair[0], chosen)
                for chosen in self._resample(groups, places)
            ]
        )
        worse = float(np.mean(-sign * changes > tolerance + 1e-9))
        low, high = np.quantile(changes, (0.025, 0.975))
        return Compared(
            name=name,
            first=first,
            second=second,
            change=second - first,
            interval=(float(low), float(high)),
            tolerance=tolerance,
            worse=worse,
            refused=worse >= (certainty or self.certainty),
        )

    def _resample(self, groups: NDArray[Any], places: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        key = places.tobytes(), groups.tobytes()
        if key not in self.drawn:
            rng = np.random.default_rng(self.seed)
            _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
            members = np.split(places[np.argsort(member, kind="stable")], np.cumsum(sizes)[:-1])
            self.drawn[key] = [
                np.concatenate([members[one] for one in rng.integers(len(members), size=len(members))])
                for _ in range(RESAMPLES)
            ]
        return self.drawn[key]


def _most_fallen(gate: _Gate, groups: NDArray[Any], kinds: NDArray[Any], tolerance: float) -> Compared:
    names = sorted(set(kinds))
    certainty = 1 - (1 - gate.certainty) / len(names)
    judged = [
        gate.judge(
            f"largest fall of a kind: {name}",
            _accuracy,
            groups[kinds == name],
            np.flatnonzero(kinds == name),
            tolerance,
            certainty=certainty,
        )
        for name in names
    ]
    return min(judged, key=lambda one: (not one.refused, one.change))


def _accuracy(one: Measured, at: NDArray[np.intp]) -> float:
    return float(one.right[at].mean())


def _ece(one: Measured, at: NDArray[np.intp]) -> float:
    return calibration_error(one.confidence[at], one.right[at])


def _blind(one: Measured, at: NDArray[np.intp]) -> float:
    return float((one.effects[at] < BLIND_BELOW).mean())


def _effect(one: Measured, at: NDArray[np.intp]) -> float:
    return float(one.effects[at].mean())


def _good(one: Measured, at: NDArray[np.intp]) -> float:
    return float(one.good[at].mean())


def explain_refusal(comparison: Comparison) -> str:
    """One sentence: why the second model is refused, or that it is not."""
    refused = [figure for figure in comparison.figures if figure.refused]
    if not refused:
        return "B passes: no figure fell by more than it may."
    risen = comparison.figures[0].change > 0
    reasons = "; ".join(f"{one.name} went from {one.first:.3f} to {one.second:.3f}" for one in refused)
    hint = " (measure it with medvqa calibrate)" if any("calibration" in one.name for one in refused) else ""
    return f"B is refused{', although its accuracy rose' if risen else ''}: {reasons}{hint}."


def describe_comparison(comparison: Comparison) -> Mapping[str, Any]:
    """As `--json` prints it."""
    return {
        "passes": comparison.passes,
        "why": explain_refusal(comparison),
        "figures": {
            one.name: {
                "a": round(one.first, 4),
                "b": round(one.second, 4),
                "change": round(one.change, 4),
                "interval": [round(edge, 4) for edge in one.interval],
                "tolerance": round(one.tolerance, 4),
                "worse_by_more": round(one.worse, 4),
                "refused": one.refused,
            }
            for one in comparison.figures
        },
        "only_a_right": comparison.only_first,
        "only_b_right": comparison.only_second,
        "mcnemar_p": comparison.mcnemar,
        "cases": comparison.cases,
        "groups": comparison.groups,
        "sampled": comparison.sampled,
        "heatmaps": comparison.heatmaps,
        "certainty": comparison.certainty,
    }
