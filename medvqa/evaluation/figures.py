"""All that is said of a model's confidence: fitted on half of the groups, measured on the other half."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medvqa.errors import TrainingError
from medvqa.evaluation.calibration import (
    bin_answers,
    brier_score,
    calibration_error,
    choose_threshold,
    fit_scaling,
    intervals,
    scale_all,
    trace_risk,
)
from medvqa.models.calibration import Abstention, Confidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medvqa.evaluation.questions import Outcome

SPLITS = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """What is kept with the model, and the figures beside it."""

    confidence: Confidence
    abstention: Abstention | None
    """None where only silence would keep the promise."""
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Half:
    """Answers with what they were worth, one entry a question."""

    groups: NDArray[Any]
    probability: NDArray[np.float64]
    right: NDArray[np.bool_]

    def at(self, chosen: NDArray[Any]) -> _Half:
        return _Half(
            groups=self.groups[chosen], probability=self.probability[chosen], right=self.right[chosen]
        )


def measure_confidence(outcomes: Sequence[Outcome], *, alpha: float, seed: int) -> Measured:
    """Fit and measure.

    Args:
        outcomes: Answers whose truth is known.
        alpha: Promised share of wrong answers among those given, in (0, 1).
        seed: Of the splits and the bootstrap.

    Raises:
        TrainingError: If there is nothing to fit: fewer than 20 groups, or all answers right, or all wrong.
    """
    whole = _Half(
        groups=np.array([one.group for one in outcomes]),
        probability=np.array([one.probability for one in outcomes]),
        right=np.array([one.right for one in outcomes]),
    )
    rng = np.random.default_rng(seed)
    splits = [_halve(whole.groups, rng) for _ in range(SPLITS + 1)]
    fitted = [_fit(whole.at(split), alpha) for split in splits]
    repeated = [
        _apply(whole.at(~split), scaling, threshold)
        for split, (scaling, threshold) in zip(splits[1:], fitted[1:], strict=True)
    ]
    (scaling, threshold), rest = fitted[0], whole.at(~splits[0])
    kept = [one for one, chosen in zip(outcomes, ~splits[0], strict=True) if chosen]
    figures: dict[str, Any] = {
        "alpha": alpha,
        "seed": seed,
        "threshold": threshold,
        "fitted": _count(whole.at(splits[0])),
        "measured": _count(rest) | _with_intervals(rest, scaling, threshold, seed),
        "by_wording": _by(rest, scaling, threshold, [one.wording for one in kept]),
        "by_kind": _by(rest, scaling, threshold, [one.kind for one in kept]),
        "over_20_splits": _summarise(repeated, alpha),
        "reliability": bin_answers(scale_all(rest.probability, scaling), rest.right),
        "risk_coverage": _thin(*trace_risk(rest.probability, rest.right)),
    }
    answered = figures["measured"]["answered"]
    promise = (
        None
        if threshold is None
        else Abstention(alpha=alpha, threshold=threshold, answered=answered["value"])
    )
    return Measured(confidence=scaling, abstention=promise, figures=figures)


def _halve(groups: NDArray[Any], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which questions belong to a random half of the groups."""
    names = np.unique(groups)
    return np.isin(groups, rng.permutation(names)[: len(names) // 2])


def _fit(half: _Half, alpha: float) -> tuple[Confidence, float | None]:
    scaling = fit_scaling(half.probability, half.right)
    if scaling is None or len(set(half.groups)) < 10:
        raise TrainingError(
            "calibration needs at least 20 groups of images, and answers of which some are right and some "
            "wrong; give more questions"
        )
    confidence = scale_all(half.probability, scaling)
    return scaling, choose_threshold(confidence, half.right, half.groups, alpha=alpha)


def _apply(half: _Half, scaling: Confidence, threshold: float | None) -> dict[str, float]:
    """Figures of one set of answers. Without a threshold all are given; the error of none at all is 0."""
    confidence = scale_all(half.probability, scaling)
    answered = confidence >= (0.0 if threshold is None else threshold)
    wrong = ~half.right[answered]
    return {
        "accuracy": float(half.right.mean()),
        "confidence": float(confidence.mean()),
        "ece": calibration_error(confidence, half.right),
        "ece_equal_mass": calibration_error(confidence, half.right, equal_mass=True),
        "ece_uncalibrated": calibration_error(half.probability, half.right),
        "brier": brier_score(confidence, half.right),
        "answered": float(answered.mean()),
        "error_answered": float(wrong.mean()) if answered.any() else 0.0,
    }


def _with_intervals(half: _Half, scaling: Confidence, threshold: float | None, seed: int) -> dict[str, Any]:
    def measure(chosen: NDArray[np.intp]) -> dict[str, float]:
        return _apply(half.at(chosen), scaling, threshold)

    drawn = intervals(half.groups, measure, seed=seed)
    return {
        name: {"value": round(value, 4), "interval": drawn[name]}
        for name, value in _apply(half, scaling, threshold).items()
    }


def _by(
    half: _Half, scaling: Confidence, threshold: float | None, names: Sequence[str]
) -> dict[str, dict[str, float]]:
    named = np.array(names)
    return {
        name: {"questions": int((named == name).sum())}
        | {
            figure: round(value, 4)
            for figure, value in _apply(half.at(named == name), scaling, threshold).items()
        }
        for name in sorted(set(names))
    }


def _summarise(repeated: Sequence[dict[str, float]], alpha: float) -> dict[str, Any]:
    errors = np.array([one["error_answered"] for one in repeated])
    return {
        "error_answered": {
            "mean": round(float(errors.mean()), 4),
            "least": round(float(errors.min()), 4),
            "most": round(float(errors.max()), 4),
        },
        "splits_above_alpha": int((errors > alpha).sum()),
        "answered": round(float(np.mean([one["answered"] for one in repeated])), 4),
        "ece": round(float(np.mean([one["ece"] for one in repeated])), 4),
    }


def _count(half: _Half) -> dict[str, Any]:
    return {"questions": len(half.groups), "groups": len(set(half.groups))}


def _thin(answered: NDArray[np.float64], wrong: NDArray[np.float64]) -> list[tuple[float, float]]:
    places = np.unique(np.linspace(0, len(answered) - 1, 100).astype(int))
    return [(round(float(answered[place]), 4), round(float(wrong[place]), 4)) for place in places]
