"""Checks tell a model that reads the image from one that does not, or that answers by chance."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_models import ANSWERS, NoiseModel, scrambled_model, text_only_model
from tiny_models import FakeModel, noise, shown

from medvqa.checks import check_answer, mean_token_probability, measure_reliance
from medvqa.checks.paraphrases import COUNT
from medvqa.checks.references import empty_picture, stand_ins
from medvqa.checks.verdict import (
    BLIND_BELOW,
    FRAGILE_FROM,
    FRAGILE_PER_TOKEN,
    GROUNDED_FROM,
    SURE_FROM_UNCALIBRATED,
    judge,
)
from medvqa.imaging import blank
from medvqa.models.base import Generation
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.simulation import Organ, insert_nodule, phantom, place_nodule
from medvqa.types import Checks, Image, Token, Verdict

QUESTIONS = (
    "Is there a nodule?",
    "Where is the nodule?",
    "Which organ is shown in this image?",
    "What modality is this image?",
    "Is this normal or abnormal?",
    "Which finding is shown?",
    "How old is the patient?",
)
ORGANS: tuple[Organ, ...] = ("brain", "chest", "breast")


def checked(model: FakeModel, image: Image) -> Checks:
    return check_answer(model, image, "Is there a tumor?", model.generate(image, "Is there a tumor?"))


def is_blank(image: Image) -> bool:
    return float(np.ptp(image.pixels)) < 1e-6


def is_stand_in(image: Image) -> bool:
    return any(image is other for other in stand_ins())


def phantoms(count: int) -> list[Image]:
    """Phantoms of each organ in turn, every other one with a nodule."""
    rng = np.random.default_rng(3)
    drawn = [phantom(ORGANS[number % 3], rng, shape=(128, 128)) for number in range(count)]
    return [
        shown(insert_nodule(pixels, place_nodule(pixels, rng)) if number % 2 else pixels)
        for number, pixels in enumerate(drawn)
    ]


def verdicts(model: HuggingFaceModel, images: int = 15) -> Counter[Verdict]:
    """Of every question about each of several images."""
    found: Counter[Verdict] = Counter()
    for image, question in itertools.product(phantoms(images), QUESTIONS):
        found[check_answer(model, image, question, model.generate(image, question)).verdict] += 1
    return found


@given(st.integers(0, 999), st.floats(0.01, 1))
def test_a_model_that_ignores_the_image_is_always_blind(seed: int, probability: float) -> None:
    checks = checked(FakeModel(lambda _: probability), noise(40, 40, seed=seed))
    assert checks.verdict == "image_blind"
    assert checks.image_reliance == checks.image_effect == 0
    assert checks.confidence == pytest.approx(probability)


def test_a_model_that_prefers_any_other_picture_is_blind() -> None:
    other: Callable[[Image], bool] = lambda image: is_blank(image) or is_stand_in(image)  # noqa: E731
    assert checked(FakeModel(lambda image: 0.9 if other(image) else 0.8), noise()).verdict == "image_blind"


@given(st.integers(0, 999))
def test_a_model_that_answers_from_the_image_is_grounded(seed: int) -> None:
    model = FakeModel(lambda image: 0.1 if is_blank(image) else 0.95)
    checks = checked(model, noise(40, 40, seed=seed))
    assert checks.verdict == "grounded"
    assert checks.image_reliance == checks.image_effect == pytest.approx(math.log(0.95 / 0.1))
    assert not checks.confidence_calibrated


def test_an_answer_that_an_empty_picture_shares_but_others_do_not_is_grounded() -> None:
    checks = checked(FakeModel(lambda image: 0.1 if is_stand_in(image) else 0.95), noise())
    assert checks.verdict == "grounded"
    assert checks.image_reliance == 0
    assert checks.image_effect == pytest.approx(math.log(0.95 / 0.1))


def test_low_confidence_is_unsure_however_much_the_image_mattered() -> None:
    assert checked(FakeModel(lambda image: 0.001 if is_blank(image) else 0.4), noise()).verdict == "unsure"


def test_no_answer_about_an_unfamiliar_image_is_grounded() -> None:
    model, image = FakeModel(lambda image: 0.1 if is_blank(image) else 0.95), noise()
    said = model.generate(image, "Is there a tumor?")
    assert check_answer(model, image, "Is there a tumor?", said).verdict == "grounded"
    assert check_answer(model, image, "Is there a tumor?", said, familiar=False).verdict == "unsure"


def test_a_little_reliance_is_unsure() -> None:
    assert checked(FakeModel(lambda image: 0.7 if is_blank(image) else 0.9), noise()).verdict == "unsure"


@pytest.mark.parametrize(
    ("image_effect", "wording_effect", "tokens", "sure", "verdict"),
    [
        (np.nextafter(BLIND_BELOW, 0), 9.0, 2, True, "image_blind"),
        (-3.0, 0.0, 2, False, "image_blind"),
        (BLIND_BELOW, 0.0, 2, True, "unsure"),
        (np.nextafter(GROUNDED_FROM, 0), 0.0, 2, True, "unsure"),
        (GROUNDED_FROM, 0.0, 2, True, "grounded"),
        (GROUNDED_FROM, 0.0, 2, False, "unsure"),
        (50.0, np.nextafter(FRAGILE_FROM, 0), 2, True, "grounded"),
        (50.0, FRAGILE_FROM, 2, True, "fragile"),
        (BLIND_BELOW, FRAGILE_FROM, 2, False, "fragile"),
        (50.0, FRAGILE_PER_TOKEN * 20, 20, True, "fragile"),
        (50.0, np.nextafter(FRAGILE_PER_TOKEN * 20, 0), 20, True, "grounded"),
    ],
)
def test_verdicts_change_just_at_their_thresholds(
    image_effect: float, wording_effect: float, tokens: int, sure: bool, verdict: str
) -> None:
    found = judge(image_effect=image_effect, wording_effect=wording_effect, tokens=tokens, sure=sure)
    assert found == verdict


def test_an_uncalibrated_answer_is_sure_from_its_threshold_on() -> None:
    for probability, verdict in ((SURE_FROM_UNCALIBRATED + 0.01, "grounded"), (0.79, "unsure")):
        model = FakeModel(lambda image, seen=probability: 0.01 if is_blank(image) else seen)
        assert checked(model, noise()).verdict == verdict


def test_confidence_is_the_mean_probability_of_the_tokens() -> None:
    tokens = tuple(Token(text="", log_probability=math.log(p)) for p in (0.2, 0.4, 0.9))
    assert mean_token_probability(Generation(text="", tokens=tokens, token_ids=(1, 2, 3))) == pytest.approx(
        0.5
    )


def test_every_likelihood_is_the_one_that_the_model_gives_alone(default_model: HuggingFaceModel) -> None:
    image, question = noise(), "Is there a tumor?"
    said = default_model.generate(image, question)
    checks = check_answer(default_model, image, question, said)

    def alone(picture: Image, wording: str) -> float:
        return default_model.log_likelihood(picture, wording, said.token_ids)

    assert checks.log_likelihood == pytest.approx(said.log_likelihood, abs=1e-4)
    assert checks.log_likelihood_blanked == pytest.approx(alone(empty_picture(image), question), abs=1e-4)
    assert checks.log_likelihoods_others == pytest.approx(
        [alone(other, question) for other in stand_ins()], abs=1e-4
    )
    assert checks.log_likelihoods_paraphrased == pytest.approx(
        [alone(image, wording) for wording in checks.paraphrases], abs=1e-4
    )
    assert len(checks.paraphrases) == COUNT
    assert checks.image_reliance == checks.log_likelihood - checks.log_likelihood_blanked
    assert checks.image_effect == checks.log_likelihood - min(
        checks.log_likelihood_blanked, *checks.log_likelihoods_others
    )
    assert checks.wording_effect == checks.log_likelihood - min(checks.log_likelihoods_paraphrased)


def test_other_images_can_be_given() -> None:
    model = FakeModel(lambda image: 0.2 if image.shape == (30, 30) else 0.9)
    said = model.generate(noise(), "Is there a tumor?")
    reliance = measure_reliance(model, noise(), "Is there a tumor?", said, others=[noise(30, 30)])
    assert reliance.others == pytest.approx([math.log(0.2)])
    assert reliance.image_effect == pytest.approx(math.log(0.9 / 0.2))


def test_an_image_that_is_blank_already_differs_from_others_alone(default_model: HuggingFaceModel) -> None:
    grey = shown(np.full((64, 64), 0.5))
    said = default_model.generate(grey, "Is there a tumor?")
    checks = check_answer(default_model, grey, "Is there a tumor?", said)
    assert checks.image_reliance == pytest.approx(0, abs=1e-3)
    alone = measure_reliance(default_model, grey, "Is there a tumor?", said, others=[blank(grey)])
    assert alone.image_effect == pytest.approx(0, abs=1e-3)


@pytest.mark.slow
def test_a_text_only_model_is_always_blind() -> None:
    assert verdicts(text_only_model()) == {"image_blind": 105}


@pytest.mark.parametrize("answers", [ANSWERS, ("yes", "no")])
def test_a_model_of_dice_is_never_grounded(answers: tuple[str, ...]) -> None:
    assert verdicts(NoiseModel(answers))["grounded"] == 0


@pytest.mark.slow
def test_a_scrambled_decoder_is_never_grounded() -> None:
    assert verdicts(scrambled_model())["grounded"] == 0


def test_the_default_model_is_told_from_all_of_those(default_model: HuggingFaceModel) -> None:
    found = verdicts(default_model, images=3)
    assert found["grounded"] > sum(found.values()) / 3
    assert found["image_blind"] <= 4  # one question in seven no image can answer
