"""What confidence is worth: how it is scaled, how far off it is, and what a threshold on it promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from sklearn.linear_model import LogisticRegression

from medvqa.checks.confidence import logit, scale_probability
from medvqa.models.calibration import Confidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Bools: TypeAlias = NDArray[np.bool_]

BINS = 15


def fit_scaling(probabilities: Floats, right: Bools) -> Confidence | None:
    """Fit Platt scaling by maximum likelihood; None where all answers are right, or all wrong.

    Args:
        probabilities: Mean token probabilities, shape (questions,).
        right: Shape (questions,).
    """
    if right.all() or not right.any():
        return None
    fitted: Any = LogisticRegression(C=1e6).fit([[logit(one)] for one in probabilities], right)
    slope = float(fitted.coef_[0, 0])
    # A model that is right the less the surer it is has no confidence worth an order: its accuracy is all.
    if slope <= 0:
        return Confidence(slope=0.0, intercept=logit(float(right.mean())))
    return Confidence(slope=slope, intercept=float(fitted.intercept_[0]))


def scale_all(probabilities: Floats, scaling: Confidence) -> Floats:
    """`scale_probability` of each, shape (questions,)."""
    return np.array([scale_probability(one, scaling) for one in probabilities])


def bin_answers(
    confidence: Floats, right: Bools, *, equal_mass: bool = False
) -> list[tuple[float, float, int]]:
    """Mean confidence, accuracy and count of each bin that is not empty, of equal width or equal mass."""
    shares = np.linspace(0, 1, BINS + 1)
    edges = np.quantile(confidence, shares) if equal_mass else shares
    places = np.clip(np.searchsorted(edges, confidence) - 1, 0, BINS - 1)
    chosen = [places == place for place in range(BINS)]
    return [
        (float(confidence[at].mean()), float(right[at].mean()), int(at.sum())) for at in chosen if at.any()
    ]


def calibration_error(confidence: Floats, right: Bools, *, equal_mass: bool = False) -> float:
    """Expected calibration error, in [0, 1]: mean distance of confidence from accuracy over `BINS` bins.

    Reference: Naeini et al. 2015; Nixon et al. 2019 for bins of equal mass.
    """
    bins = bin_answers(confidence, right, equal_mass=equal_mass)
    return sum(abs(sure - accurate) * count for sure, accurate, count in bins) / len(confidence)


def brier_score(confidence: Floats, right: Bools) -> float:
    """Mean squared distance of confidence from being right, in [0, 1]."""
    return float(np.mean((confidence - right) ** 2))


def trace_risk(confidence: Floats, right: Bools) -> tuple[Floats, Floats]:
    """Share answered, and share of these answered wrongly, as ever less certain questions are answered too.

    Reference: El-Yaniv and Wiener 2010, On the foundations of noise-free selective classification.
    """
    order = np.argsort(-confidence, kind="stable")
    count = np.arange(1, len(order) + 1)
    return count / len(order), np.cumsum(~right[order]) / count


def choose_threshold(confidence: Floats, right: Bools, groups: NDArray[Any], *, alpha: float) -> float | None:
    """The lowest confidence to answer from, so that at most `alpha` of the answered questions are wrong.

    What holds, for n groups and one more that are exchangeable (images of one patient are one group): each
    group counts once, and its loss at a threshold is the mean over its questions of `wrong - alpha` where
    answered and 0 where not. The threshold is the lowest at which the losses of all n groups and of a worst
    possible one (`1 - alpha`) sum to 0 or less. It is never lower than the one that the n + 1 groups would
    choose together, at which the new group's expected loss is at most 0 by symmetry. Hence E[wrong and
    answered] <= alpha E[answered], but for alpha times the share of questions between these two thresholds,
    which is of order 1 / n. It holds on average over draws of the groups, not for each draw or for each kind
    of question; and it says nothing of other images or other wordings.

    Args:
        confidence: Shape (questions,).
        right: Shape (questions,).
        groups: Of each question, shape (questions,).
        alpha: In (0, 1).

    Returns:
        None where no threshold will do: the promise can be kept by silence only.

    Reference: Angelopoulos et al. 2024, Conformal risk control (ICLR); its losses are monotone, these not.
    """
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(-confidence, kind="stable")
    losses = (~right - alpha) / sizes[group]
    sums = np.cumsum(losses[order]) + 1 - alpha
    ends = np.append(np.diff(confidence[order]) != 0, True)  # questions of one confidence go together
    good = np.flatnonzero((sums <= 0) & ends)
    return float(confidence[order[good[-1]]]) if len(good) else None


def intervals(
    groups: NDArray[Any], figures: Callable[[NDArray[np.intp]], dict[str, float]], *, seed: int
) -> dict[str, list[float]]:
    """Bootstrap 95 % interval of each figure, by drawing whole groups.

    Args:
        groups: Of each question, shape (questions,).
        figures: By name, of the questions at these places.
        seed: Of the 500 draws.
    """
    rng = np.random.default_rng(seed)
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(sizes)[:-1])
    drawn = [
        figures(np.concatenate([members[one] for one in rng.integers(len(members), size=len(members))]))
        for _ in range(500)
    ]
    return {
        name: [round(float(edge), 4) for edge in np.quantile([one[name] for one in drawn], (0.025, 0.975))]
        for name in drawn[0]
    }
