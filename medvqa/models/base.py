"""The seam between the assistant and whatever answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medvqa.types import Image, ModelIdentity, Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What a model said to one question about one image."""

    text: str
    tokens: tuple[Token, ...]
    """The end-of-sequence token is the last, unless the length limit came first."""
    token_ids: tuple[int, ...]
    prompt_token_ids: tuple[int, ...] = ()
    """What the model was given to go on from: the question in its template, image tokens included."""

    @property
    def log_likelihood(self) -> float:
        """Natural logarithm of the probability of all tokens, given image and question."""
        return sum(token.log_probability for token in self.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """An example that a model is shown before it is asked."""

    image: Image
    question: str
    answer: str


class VisionLanguageModel(Protocol):
    """Anything that answers a question about an image and says how likely an answer is."""

    @property
    def identity(self) -> ModelIdentity:
        """What exactly answers."""
        ...

    @property
    def modalities(self) -> frozenset[str]:
        """DICOM modalities that the model was made for; empty where nobody has said."""
        ...

    def generate(self, image: Image, question: str) -> Generation:
        """Answer `question` about `image` by greedy decoding."""
        ...

    def log_likelihood(self, image: Image, question: str, token_ids: tuple[int, ...]) -> float:
        """Natural logarithm of the probability that the model answers with just these tokens."""
        ...

    def log_likelihoods(self, asked: Sequence[tuple[Image, str]], token_ids: tuple[int, ...]) -> list[float]:
        """The same for each of several images with a question about it."""
        ...
