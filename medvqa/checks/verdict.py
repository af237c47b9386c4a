"""All checks of one answer, and the verdict that they come to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from medvqa.checks.confidence import mean_token_probability
from medvqa.checks.reliance import log_likelihood_blanked
from medvqa.types import Checks, Verdict

if TYPE_CHECKING:
    from medvqa.models.base import Generation, VisionLanguageModel
    from medvqa.types import Image

BLIND_BELOW = 0.1
"""Nats: the image makes the answer less than about 10 % likelier."""
GROUNDED_FROM = 0.7
"""Nats: the image makes the answer at least about twice as likely (ln 2 = 0.69)."""
SURE_FROM = 0.5
"""Mean token probability."""

MEANINGS: Mapping[Verdict, str] = MappingProxyType(
    {
        "grounded": "the picture made this answer likelier; it may still be wrong",
        "fragile": "the wording of the question decided",
        "image_blind": "the picture hardly mattered: the model would say this to an empty image",
        "unsure": "the model was unsure of its words, or the picture mattered little",
    }
)
"""What each verdict means, as shown beside it; see `judge` for the thresholds."""


def check_answer(model: VisionLanguageModel, image: Image, question: str, generation: Generation) -> Checks:
    """Measure every check on one answer."""
    confidence = mean_token_probability(generation)
    blanked = log_likelihood_blanked(model, image, question, generation)
    reliance = generation.log_likelihood - blanked
    return Checks(
        confidence=confidence,
        confidence_calibrated=False,
        image_reliance=reliance,
        log_likelihood=generation.log_likelihood,
        log_likelihood_blanked=blanked,
        verdict=judge(image_reliance=reliance, confidence=confidence),
    )


def judge(*, image_reliance: float, confidence: float) -> Verdict:
    """Name what two checks come to.

    `image_blind`: the image did next to nothing for the answer (reliance under `BLIND_BELOW`). `unsure`: the
    model's words had a mean probability under `SURE_FROM`, or the image mattered a little (reliance under
    `GROUNDED_FROM`). `grounded`: neither. It does not mean that the answer is right. `fragile` is reserved
    for answers that change with the wording, which is not measured yet.
    """
    if image_reliance < BLIND_BELOW:
        return "image_blind"
    if confidence < SURE_FROM or image_reliance < GROUNDED_FROM:
        return "unsure"
    return "grounded"
