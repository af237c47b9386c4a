"""How far a mean over images may be off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean with its 95 % bootstrap interval, percentile method."""

    mean: float
    low: float
    high: float
    count: int
    """Images."""


def mean_with_interval(values: Sequence[float], *, seed: int = 0) -> Interval | None:
    """Mean of one value an image, images resampled; None where there is none."""
    if not len(values):
        return None
    known = np.asarray(values, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(len(known), size=(_RESAMPLES, len(known)))
    low, high = np.percentile(known[drawn].mean(1), (2.5, 97.5))
    return Interval(mean=float(known.mean()), low=float(low), high=float(high), count=len(known))
