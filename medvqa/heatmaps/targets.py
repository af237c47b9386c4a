"""The number that a heatmap explains: how probable an answer is, or a word of it, or it and not another."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

import torch

from medvqa.errors import QuestionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from medvqa.models.base import Generation
    from medvqa.models.encoding import Prompt
    from medvqa.models.huggingface import HuggingFaceModel

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
"""What a token decodes to that is only part of a character."""


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """Why this answer: log p(answer)."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """Why this answer rather than another: log p(answer) - log p(other)."""

    other: str


@dataclass(frozen=True, slots=True)
class ChosenWord:
    """Why this word of the answer: the log-probability of its tokens, given those before."""

    number: int
    """Counted from 1, as `words_of` lists them."""


Target: TypeAlias = WholeAnswer | Contrast | ChosenWord

ANSWER = WholeAnswer()


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word of an answer, punctuation included."""

    text: str
    tokens: slice
    """Of the generation's tokens; a token across two words belongs to both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One logarithm in a target."""

    sign: int
    token_ids: tuple[int, ...]
    """The answer that is forced."""
    tokens: slice
    """Those whose probability counts, given all before them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """A target, for one answer of one model."""

    terms: tuple[Term, ...]
    formula: str
    """In words, such as `log p(answer) - log p("no")`."""
    predicted: str
    """What the model predicts where the terms count, in words: `the answer, less the same for "no"`."""

    def score(self, model: HuggingFaceModel, prompt: Prompt, features: Tensor) -> Tensor:
        """The number for versions of the image's tokens (versions, tokens, width), differentiable in them.

        Returns:
            In nats, shape (versions,).
        """
        return self.add_up(
            lambda term: model.answer_log_probabilities(prompt, term.token_ids, features)[:, term.tokens].sum(
                1
            )
        )

    def add_up(self, of: Callable[[Term], Tensor]) -> Tensor:
        """The sum over the terms of what is found for each, with its sign."""
        return torch.stack([term.sign * of(term) for term in self.terms]).sum(0)


def scalar_of(target: Target, model: HuggingFaceModel, generation: Generation) -> Scalar:
    """What a target stands for.

    Raises:
        QuestionError: If the other answer is empty or the same, or the answer has no such word.
    """
    whole = Term(sign=1, token_ids=generation.token_ids, tokens=slice(None))
    match target:
        case WholeAnswer():
            return Scalar(terms=(whole,), formula="log p(answer)", predicted="the answer")
        case Contrast(other):
            against = Term(sign=-1, token_ids=_spell(other, model, generation), tokens=slice(None))
            return Scalar(
                terms=(whole, against),
                formula=f'log p(answer) - log p("{other.strip()}")',
                predicted=f'the answer, less the same for "{other.strip()}"',
            )
        case ChosenWord(number):
            word = _choose(number, words_of(model, generation))
            chosen = Term(sign=1, token_ids=generation.token_ids, tokens=word.tokens)
            named = f'"{word.text}", word {number} of the answer'
            return Scalar(terms=(chosen,), formula=f"log p({named}, given those before)", predicted=named)


def words_of(model: HuggingFaceModel, generation: Generation) -> tuple[Word, ...]:
    """The words of an answer, in order, each with its tokens."""
    token_ids = generation.token_ids
    spelled = [model.text_of(token_ids[:count]) for count in range(len(token_ids) + 1)]
    ends = list(accumulate((len(text.rstrip(_INCOMPLETE)) for text in spelled), max))
    return tuple(_find_words(spelled[-1], ends))


def _find_words(text: str, ends: list[int]) -> Iterator[Word]:
    """Split at white space; `ends` counts the characters that are spelled after 0, 1, 2, ... tokens."""
    for found in re.finditer(r"\S+", text):
        first = bisect_left(ends, found.start())
        if ends[first] > found.start():  # a token that begins with the white space before the word
            first -= 1
        yield Word(text=found.group(), tokens=slice(first, bisect_left(ends, found.end())))


def _choose(number: int, words: tuple[Word, ...]) -> Word:
    if not 1 <= number <= len(words):
        raise QuestionError(
            f"the answer has {len(words)} words but word {number} was asked for; count from 1"
        )
    return words[number - 1]


def _spell(other: str, model: HuggingFaceModel, generation: Generation) -> tuple[int, ...]:
    """Tokens of another answer, ended as the model ended its own."""
    said = generation.token_ids
    end = () if model.text_of(said[-1:]) else said[-1:]
    token_ids = model.tokens_of(other.strip()) + end
    if not other.strip():
        raise QuestionError("the answer to compare with is empty; write one, such as 'no'")
    if token_ids == said:
        raise QuestionError("the answer to compare with is what the model answered; write another")
    return token_ids
