"""Checks tell a model that reads the image from one that does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import FakeModel, noise, shown

from medvqa.checks import check_answer, log_likelihood_blanked, mean_token_probability
from medvqa.checks.verdict import BLIND_BELOW, GROUNDED_FROM, SURE_FROM, judge
from medvqa.imaging import blank
from medvqa.models.base import Generation
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.types import Checks, Image, Token


def checked(model: FakeModel, image: Image) -> Checks:
    return check_answer(model, image, "Is there a tumor?", model.generate(image, "Is there a tumor?"))


def is_blank(image: Image) -> bool:
    return float(np.ptp(image.pixels)) < 1e-6


@given(st.integers(0, 999), st.floats(0.01, 1))
def test_a_model_that_ignores_the_image_is_always_blind(seed: int, probability: float) -> None:
    checks = checked(FakeModel(lambda _: probability), noise(40, 40, seed=seed))
    assert checks.verdict == "image_blind"
    assert checks.image_reliance == 0
    assert checks.confidence == pytest.approx(probability)


def test_a_model_that_prefers_an_empty_picture_is_blind() -> None:
    assert checked(FakeModel(lambda image: 0.9 if is_blank(image) else 0.6), noise()).verdict == "image_blind"


@given(st.integers(0, 999))
def test_a_model_that_answers_from_the_image_is_grounded(seed: int) -> None:
    model = FakeModel(lambda image: 0.1 if is_blank(image) else 0.95)
    checks = checked(model, noise(40, 40, seed=seed))
    assert checks.verdict == "grounded"
    assert checks.image_reliance == pytest.approx(math.log(0.95 / 0.1))
    assert not checks.confidence_calibrated


def test_low_confidence_is_unsure_however_much_the_image_mattered() -> None:
    assert checked(FakeModel(lambda image: 0.001 if is_blank(image) else 0.4), noise()).verdict == "unsure"


def test_a_little_reliance_is_unsure() -> None:
    assert checked(FakeModel(lambda image: 0.7 if is_blank(image) else 0.9), noise()).verdict == "unsure"


@pytest.mark.parametrize(
    ("image_reliance", "confidence", "verdict"),
    [
        (np.nextafter(BLIND_BELOW, 0), 1.0, "image_blind"),
        (BLIND_BELOW, 1.0, "unsure"),
        (np.nextafter(GROUNDED_FROM, 0), 1.0, "unsure"),
        (GROUNDED_FROM, SURE_FROM, "grounded"),
        (GROUNDED_FROM, np.nextafter(SURE_FROM, 0), "unsure"),
        (-3.0, 0.0, "image_blind"),
        (50.0, 1.0, "grounded"),
    ],
)
def test_verdicts_change_just_at_their_thresholds(
    image_reliance: float, confidence: float, verdict: str
) -> None:
    assert judge(image_reliance=image_reliance, confidence=confidence) == verdict


def test_confidence_is_the_mean_probability_of_the_tokens() -> None:
    tokens = tuple(Token(text="", log_probability=math.log(p)) for p in (0.2, 0.4, 0.9))
    assert mean_token_probability(Generation(text="", tokens=tokens, token_ids=(1, 2, 3))) == pytest.approx(
        0.5
    )


def test_reliance_is_the_difference_of_the_two_likelihoods(default_model: HuggingFaceModel) -> None:
    image, question = noise(), "Is there a tumor?"
    said = default_model.generate(image, question)
    checks = check_answer(default_model, image, question, said)
    empty = default_model.log_likelihood(blank(image), question, said.token_ids)
    assert checks.log_likelihood == said.log_likelihood
    assert checks.log_likelihood_blanked == pytest.approx(empty, abs=1e-4)
    assert log_likelihood_blanked(default_model, image, question, said) == checks.log_likelihood_blanked
    assert checks.image_reliance == checks.log_likelihood - checks.log_likelihood_blanked
    assert math.isfinite(checks.image_reliance)


def test_an_image_that_is_blank_already_is_relied_on_by_nobody(default_model: HuggingFaceModel) -> None:
    grey = shown(np.full((64, 64), 0.5))
    said = default_model.generate(grey, "Is there a tumor?")
    checks = check_answer(default_model, grey, "Is there a tumor?", said)
    assert checks.image_reliance == pytest.approx(0, abs=1e-3)
    assert checks.verdict == "image_blind"
