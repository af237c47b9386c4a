"""How sure the model was of its words, and whether that is sure enough to answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medvqa.models.base import Generation, VisionLanguageModel
    from medvqa.models.calibration import Calibration, Confidence

CERTAIN = 1e-6
"""A probability this near to 0 or 1 counts as this near: its logit is finite."""


def mean_token_probability(generation: Generation) -> float:
    """Mean probability of the answer's tokens, in [0, 1].

    Not calibrated: it orders answers of one model, and 0.9 does not mean right nine times in ten.
    """
    probabilities = [math.exp(token.log_probability) for token in generation.tokens]
    return sum(probabilities) / len(probabilities)


def scale_probability(probability: float, scaling: Confidence) -> float:
    """The chance of being right, in (0, 1), that a mean token probability stands for.

    Reference: Platt 1999, Probabilistic outputs for support vector machines; fitted by
    `medvqa.evaluation.calibration.fit_scaling`.
    """
    return 1 / (1 + math.exp(-(scaling.slope * logit(probability) + scaling.intercept)))


def logit(probability: float) -> float:
    """log(p / (1 - p)), within +-13.8."""
    kept = min(max(probability, CERTAIN), 1 - CERTAIN)
    return math.log(kept / (1 - kept))


def judge_confidence(
    model: VisionLanguageModel, generation: Generation, *, familiar: bool = True
) -> tuple[float, bool, bool]:
    """What a model's certainty of its words is worth.

    Args:
        model: What answered.
        generation: Its answer.
        familiar: Whether the image is like those of training: nothing was measured on any other.

    Returns:
        Confidence in [0, 1]; whether it is calibrated, that is a chance of being right, measured on images
        and questions like those of `Calibration.measured_on`, and otherwise the mean token probability; and
        whether it is below the threshold of `Abstention`, so that the answer is "I can't tell".
    """
    probability = mean_token_probability(generation)
    calibration: Calibration | None = getattr(model, "calibration", None)
    if not familiar or calibration is None or calibration.confidence is None:
        return probability, False, False
    confidence = scale_probability(probability, calibration.confidence)
    promise = calibration.abstention
    return confidence, True, promise is not None and confidence < promise.threshold
