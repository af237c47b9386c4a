"""All checks of one answer, and the verdict that they come to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from medvqa.checks.confidence import judge_confidence, mean_token_probability
from medvqa.checks.reliance import Reliance, measure_reliance, measure_reliances
from medvqa.models.base import is_open
from medvqa.types import Checks, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medvqa.models.base import Generation, VisionLanguageModel
    from medvqa.types import Image

BLIND_BELOW = 0.1
"""Nats of `image_effect`: no other picture makes the answer as much as 10 % less likely."""
GROUNDED_FROM = 0.7
"""Nats of `image_effect`: some other picture halves the answer's probability (ln 2 = 0.69)."""
FRAGILE_FROM = 0.7
"""Nats of `wording_effect`: some paraphrase halves the answer's probability, so that it is under a half."""
FRAGILE_PER_TOKEN = 0.1
"""Nats of `wording_effect` a token: a long answer, each word of which loses a little, is not fragile."""
SURE_FROM = 0.5
"""Calibrated confidence: under it the answer is more likely wrong than right."""
SURE_FROM_UNCALIBRATED = 0.8
"""Mean token probability: under it most of the default model's answers to training images were wrong."""

MEANINGS: Mapping[Verdict, str] = MappingProxyType(
    {
        "grounded": "this answer needs this picture, whatever the wording; it may still be wrong",
        "fragile": "the wording decided: asked in other words, the answer is less than half as likely",
        "image_blind": "the picture hardly mattered: the model would say this to any image, or to none",
        "unsure": "the model was unsure of its words, or the picture mattered little or is a strange one",
    }
)
"""What each verdict means, as shown beside it; see `judge` for the thresholds."""


def check_answer(
    model: VisionLanguageModel,
    image: Image,
    question: str,
    generation: Generation,
    *,
    others: Sequence[Image] | None = None,
    familiar: bool = True,
) -> Checks:
    """Measure every check on one answer.

    Args:
        model: What answered.
        image: What it was asked about.
        question: What it was asked.
        generation: Its answer.
        others: As for `medvqa.checks.reliance.measure_reliance`.
        familiar: Whether the image passed `medvqa.checks.familiarity.check_familiarity`. To an image that did
            not, no confidence is calibrated, and no answer grounded.
    """
    return _conclude(
        model,
        generation,
        measure_reliance(model, image, question, generation, others=others),
        familiar=familiar,
    )


def check_answers(
    model: VisionLanguageModel, answered: Sequence[tuple[Image, str, Generation]], *, familiar: Sequence[bool]
) -> list[Checks]:
    """Measure every check on several answers, at once where the model can.

    Args:
        model: What answered.
        answered: Images with questions about them and the answers.
        familiar: As for `check_answer`, of each.
    """
    if not is_open(model) or len(answered) == 1:
        return [
            check_answer(model, *one, familiar=known) for one, known in zip(answered, familiar, strict=True)
        ]
    return [
        _conclude(model, generation, reliance, familiar=known)
        for (_, _, generation), reliance, known in zip(
            answered, measure_reliances(model, answered), familiar, strict=True
        )
    ]


def _conclude(
    model: VisionLanguageModel, generation: Generation, reliance: Reliance, *, familiar: bool
) -> Checks:
    confidence, calibrated, abstains = judge_confidence(model, generation, familiar=familiar)
    sure = confidence >= (SURE_FROM if calibrated else SURE_FROM_UNCALIBRATED)
    return Checks(
        confidence=confidence,
        confidence_calibrated=calibrated,
        token_probability=mean_token_probability(generation),
        abstains=abstains,
        image_reliance=reliance.log_likelihood - reliance.blanked,
        image_effect=reliance.image_effect,
        wording_effect=reliance.wording_effect,
        log_likelihood=reliance.log_likelihood,
        log_likelihood_blanked=reliance.blanked,
        log_likelihoods_others=reliance.others,
        paraphrases=reliance.paraphrases,
        log_likelihoods_paraphrased=reliance.paraphrased,
        verdict=judge(
            image_effect=reliance.image_effect,
            wording_effect=reliance.wording_effect,
            tokens=len(generation.token_ids),
            sure=sure and familiar and not abstains,
        ),
    )


def judge(*, image_effect: float, wording_effect: float, tokens: int, sure: bool) -> Verdict:
    """Name what the checks come to; the first that holds, in this order.

    `image_blind`: with no other picture (blanked, or of others) did the answer become noticeably less likely
    (`BLIND_BELOW`). `fragile`: under some paraphrase it became half as likely (`FRAGILE_FROM`), and by more
    than a little a token (`FRAGILE_PER_TOKEN`). `unsure`: the model's confidence is under `SURE_FROM`, or
    `SURE_FROM_UNCALIBRATED` where it is not calibrated, or it abstains, or the image is unlike any in
    training, or no other picture made the answer half as likely (`GROUNDED_FROM`). `grounded`: none of these.
    It does not mean that the answer is right.

    A model that answers by chance among n answers, differently for every picture and wording, passes for
    grounded only where it happens to give the same answer to all paraphrases: once in n ** 12 answers.
    """
    if image_effect < BLIND_BELOW:
        return "image_blind"
    if wording_effect >= max(FRAGILE_FROM, FRAGILE_PER_TOKEN * tokens):
        return "fragile"
    return "grounded" if sure and image_effect >= GROUNDED_FROM else "unsure"
