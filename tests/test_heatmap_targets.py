"""What a heatmap explains: the whole answer, the answer and not another, or one word of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from each_method import each_method
from tiny_models import noise

from medvqa.errors import QuestionError
from medvqa.heatmaps import ANSWER, HEATMAPS, ChosenWord, Contrast, words_of
from medvqa.heatmaps.targets import scalar_of
from medvqa.models.base import Generation

if TYPE_CHECKING:
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import Image

QUESTION = "Where is the nodule?"


class Speller:
    """Spells as a dictionary of tokens says; number 0 ends an answer."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = (b"", *pieces)

    def text_of(self, token_ids: tuple[int, ...]) -> str:
        return b"".join(self._pieces[token_id] for token_id in token_ids).decode(errors="replace")


def spans(model: Speller, token_ids: tuple[int, ...]) -> list[tuple[str, int, int]]:
    generation = Generation(text="", tokens=(), token_ids=token_ids)
    words = words_of(model, generation)  # pyright: ignore[reportArgumentType]
    return [(word.text, word.tokens.start, word.tokens.stop) for word in words]


@pytest.mark.parametrize(
    ("pieces", "token_ids", "expected"),
    [
        ((b"up", b"per", b" left"), (1, 2, 3, 0), [("upper", 0, 2), ("left", 2, 3)]),
        ((b"no", b" ", b"nodule", b"."), (1, 2, 3, 4, 0), [("no", 0, 1), ("nodule.", 2, 4)]),
        ((b" yes", b" b", b" c d"), (1, 2, 3), [("yes", 0, 1), ("b", 1, 2), ("c", 2, 3), ("d", 2, 3)]),
        ((b"na\xc3", b"\xaf", b"ve"), (1, 2, 3, 0), [("na\u00efve", 0, 3)]),
        ((b"a ", b"\xc3", b"\xaf"), (1, 2, 3, 0), [("a", 0, 1), ("\u00ef", 1, 3)]),
        ((), (0,), []),
    ],
)
def test_words_know_their_tokens(
    pieces: tuple[bytes, ...], token_ids: tuple[int, ...], expected: list[tuple[str, int, int]]
) -> None:
    assert spans(Speller(*pieces), token_ids) == expected


@pytest.fixture(scope="module")
def said(default_model: HuggingFaceModel) -> tuple[Image, Generation]:
    image = noise(53, 81)
    return image, default_model.generate(image, QUESTION)


def measure(
    model: HuggingFaceModel, said: tuple[Image, Generation], target: ChosenWord | Contrast
) -> tuple[float, str]:
    scalar = scalar_of(target, model, said[1])
    prompt = model.prompt(said[0], QUESTION)
    return scalar.score(model, prompt, prompt.image.features).item(), scalar.formula


def test_words_and_the_end_add_up_to_the_answer(
    default_model: HuggingFaceModel, said: tuple[Image, Generation]
) -> None:
    image, generation = said
    words = words_of(default_model, generation)
    assert " ".join(word.text for word in words) == generation.text
    assert len(words) > 1
    scores = [measure(default_model, said, ChosenWord(number + 1))[0] for number in range(len(words))]
    whole = default_model.log_likelihood(image, QUESTION, generation.token_ids)
    assert sum(scores) + generation.tokens[-1].log_probability == pytest.approx(whole, abs=1e-4)


def test_a_contrast_is_the_difference_of_two_likelihoods(
    default_model: HuggingFaceModel, said: tuple[Image, Generation]
) -> None:
    image, generation = said
    score, formula = measure(default_model, said, Contrast(" yes "))
    other = default_model.tokens_of("yes") + generation.token_ids[-1:]
    expected = default_model.log_likelihood(image, QUESTION, generation.token_ids)
    expected -= default_model.log_likelihood(image, QUESTION, other)
    assert score == pytest.approx(expected, abs=1e-4)
    assert formula == 'log p(answer) - log p("yes")'


def test_an_answer_is_spelled_as_the_model_spells_it(
    default_model: HuggingFaceModel, said: tuple[Image, Generation]
) -> None:
    assert default_model.tokens_of(said[1].text) == said[1].token_ids[:-1]


def test_an_answer_that_was_cut_off_is_compared_with_one_without_an_end(
    default_model: HuggingFaceModel, said: tuple[Image, Generation]
) -> None:
    cut = Generation(text="", tokens=(), token_ids=said[1].token_ids[:1])
    scalar = scalar_of(Contrast("yes"), default_model, cut)
    assert [term.token_ids for term in scalar.terms] == [cut.token_ids, default_model.tokens_of("yes")]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (ChosenWord(0), "count from 1"),
        (ChosenWord(99), "words but word 99"),
        (Contrast(" "), "is empty"),
    ],
)
def test_targets_that_fit_no_answer_are_refused(
    default_model: HuggingFaceModel,
    said: tuple[Image, Generation],
    target: ChosenWord | Contrast,
    reason: str,
) -> None:
    with pytest.raises(QuestionError, match=reason):
        measure(default_model, said, target)


def test_an_answer_is_not_compared_with_itself(
    default_model: HuggingFaceModel, said: tuple[Image, Generation]
) -> None:
    with pytest.raises(QuestionError, match="is what the model answered"):
        measure(default_model, said, Contrast(said[1].text))


@pytest.mark.parametrize("method", each_method())
def test_every_method_says_which_scalar_it_explains(
    method: str, default_model: HuggingFaceModel, said: tuple[Image, Generation]
) -> None:
    image, generation = said
    make = HEATMAPS[method]  # pyright: ignore[reportArgumentType]
    whole, contrast, word = (
        make(default_model, image, QUESTION, generation, target=target)
        for target in (ANSWER, Contrast("yes"), ChosenWord(1))
    )
    assert "answer" in whole.explained
    assert '"yes"' in contrast.explained
    assert f'"{generation.text.split()[0]}", word 1' in word.explained
    assert (whole.values != contrast.values).any()
    assert (whole.values != word.values).any()
