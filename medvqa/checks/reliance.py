"""What an answer rested on: how likely it stays with another picture, and with another wording."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from medvqa.checks.paraphrases import paraphrase
from medvqa.checks.references import empty_picture, stand_ins

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medvqa.models.base import Generation, VisionLanguageModel
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliance:
    """Log-likelihoods of one answer, in nats, each measured in a batch with others."""

    log_likelihood: float
    """With the image and the question that were asked."""
    blanked: float
    """With the image blanked to about its mean grey; see `medvqa.checks.references.empty_picture`."""
    others: tuple[float, ...]
    """With other images."""
    paraphrases: tuple[str, ...]
    """Wordings that mean the same as the question."""
    paraphrased: tuple[float, ...]
    """With the image, under each of them."""

    @property
    def image_effect(self) -> float:
        """What the picture did for the answer: the most that any other picture takes from it, in nats."""
        return self.log_likelihood - min(self.blanked, *self.others)

    @property
    def wording_effect(self) -> float:
        """What the wording did for the answer: the most that any paraphrase takes from it, in nats."""
        return self.log_likelihood - min(self.paraphrased)


def measure_reliance(
    model: VisionLanguageModel,
    image: Image,
    question: str,
    generation: Generation,
    *,
    others: Sequence[Image] | None = None,
) -> Reliance:
    """Ask how likely the same answer would be with other pictures and other words.

    The answer as it was asked is measured again in the same batch, so that rounding is no effect.

    Args:
        model: What answered.
        image: What it was asked about.
        question: What it was asked.
        generation: Its answer.
        others: Other patients' images; simulated stand-ins if left out, since no image of a patient may be
            kept to judge another's. At least one.
    """
    compared = stand_ins() if others is None else tuple(others)
    rows = _rows(image, question, compared)
    return _weigh(question, len(compared), model.log_likelihoods(rows, generation.token_ids))


def measure_reliances(
    model: HuggingFaceModel, answered: Sequence[tuple[Image, str, Generation]]
) -> list[Reliance]:
    """The same for several answers at once, beside simulated stand-ins.

    Args:
        model: What answered.
        answered: Images with questions about them and the answers.
    """
    compared = stand_ins()
    asked = [_rows(image, question, compared) for image, question, _ in answered]
    found = iter(
        model.likelihoods_of_answers(
            [
                (*row, generation.token_ids)
                for rows, (_, _, generation) in zip(asked, answered, strict=True)
                for row in rows
            ]
        )
    )
    return [
        _weigh(question, len(compared), list(islice(found, len(rows))))
        for rows, (_, question, _) in zip(asked, answered, strict=True)
    ]


def _rows(image: Image, question: str, compared: Sequence[Image]) -> list[tuple[Image, str]]:
    """What the answer is likely or not under: the question with each picture, each wording with the image."""
    pictures = [(picture, question) for picture in (image, empty_picture(image), *compared)]
    return [*pictures, *((image, wording) for wording in paraphrase(question))]


def _weigh(question: str, others: int, log_likelihoods: Sequence[float]) -> Reliance:
    asked, blanked, *rest = log_likelihoods
    return Reliance(
        log_likelihood=asked,
        blanked=blanked,
        others=tuple(rest[:others]),
        paraphrases=paraphrase(question),
        paraphrased=tuple(rest[others:]),
    )
