"""Which of several options an image shows.

A model that answers in words is asked a question. log p(option) is the log-likelihood of answering with just
that option and then ending, and the probability of an option is its share among them:

    p(option) = exp(log p(option)) / sum over options of exp(log p(other))

which is how likely the model is to give this answer, if it gives one of them. It is not divided by the number
of tokens: that would no longer be a probability of anything, and favours long options. A model that places
images and texts in one space has its own (`choose`), and is asked nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeGuard

from medvqa.errors import TaskError
from medvqa.tasks.results import Classification

if TYPE_CHECKING:
    from medvqa.models.base import Generation
    from medvqa.types import Image


class Chosen(Protocol):
    """One option beside an image."""

    @property
    def probability(self) -> float:
        """In [0, 1], 1 over all options."""
        ...


class Choosing(Protocol):
    """A model that compares an image with texts."""

    def choose(self, image: Image, options: Sequence[str]) -> Sequence[Chosen]:
        """One an option, in their order."""
        ...


class Answering(Protocol):
    """A model that answers in words, and says how likely an answer is."""

    def generate(self, image: Image, question: str) -> Generation:
        """Answer by greedy decoding."""
        ...

    def log_likelihood(self, image: Image, question: str, token_ids: tuple[int, ...]) -> float:
        """Natural logarithm of the probability of answering with just these tokens."""
        ...

    def tokens_of(self, answer: str) -> tuple[int, ...]:
        """The tokens that spell an answer, without the one that ends it."""
        ...

    def text_of(self, token_ids: tuple[int, ...]) -> str:
        """What tokens spell, special ones left out."""
        ...


def classify(
    model: object, image: Image, options: tuple[str, ...], *, question: str | None
) -> Classification:
    """Weigh the options against each other.

    Args:
        model: What is asked: `Answering` or `Choosing`.
        image: As it is shown.
        options: Two at least, all different; as the model would write them.
        question: What they answer; by default which of them the image shows.

    Raises:
        TaskError: If the model is neither.
    """
    if chooses(model):
        weighed = tuple(one.probability for one in model.choose(image, options))
        return Classification(question=None, options=options, probabilities=weighed, said=None)
    if not answers(model):
        raise TaskError(
            "this model neither says how likely an answer is nor compares texts with an image, so it cannot "
            "classify; use one of transformers' checkpoints, such as the default model"
        )
    question = question or f"Which of these does the image show: {', '.join(options)}?"
    said = model.generate(image, question)
    logarithms = [
        model.log_likelihood(image, question, spell(model, option, like=said)) for option in options
    ]
    return Classification(
        question=question, options=options, probabilities=softmax(logarithms), said=said.text
    )


def chooses(model: object) -> TypeGuard[Choosing]:
    """Whether a model compares images with texts."""
    return hasattr(model, "choose")


def answers(model: object) -> TypeGuard[Answering]:
    """Whether a model says how likely an answer in words is."""
    return all(hasattr(model, name) for name in ("generate", "log_likelihood", "tokens_of", "text_of"))


def spell(model: Answering, answer: str, *, like: Generation) -> tuple[int, ...]:
    """Tokens of an answer, ended as the model ended one of its own."""
    end = () if model.text_of(like.token_ids[-1:]).strip() else like.token_ids[-1:]
    return model.tokens_of(answer) + end


def softmax(logarithms: Sequence[float]) -> tuple[float, ...]:
    """Shares of numbers whose natural logarithms are given; 1 together."""
    most = max(logarithms)
    weights = [math.exp(logarithm - most) for logarithm in logarithms]
    return tuple(weight / sum(weights) for weight in weights)
