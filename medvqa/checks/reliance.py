"""Whether the image mattered to the answer at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medvqa.imaging import blank

if TYPE_CHECKING:
    from medvqa.models.base import Generation, VisionLanguageModel
    from medvqa.types import Image


def log_likelihood_blanked(
    model: VisionLanguageModel, image: Image, question: str, generation: Generation
) -> float:
    """Log-likelihood, in nats, of the same answer with the image blanked to its mean grey.

    The difference to the real image is the answer's image reliance: at 0 the model would have said just
    the same to an empty picture.
    """
    return model.log_likelihood(blank(image), question, generation.token_ids)
