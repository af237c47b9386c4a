"""Confidence is the measured chance of being right, and a threshold on it keeps its promise."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import FakeModel

from medvqa.checks import mean_token_probability
from medvqa.checks.confidence import judge_confidence, scale_probability
from medvqa.errors import ModelError, TrainingError
from medvqa.evaluation.calibration import (
    bin_answers,
    brier_score,
    calibration_error,
    choose_threshold,
    fit_scaling,
    intervals,
    scale_all,
    trace_risk,
)
from medvqa.evaluation.figures import measure_confidence
from medvqa.evaluation.questions import Outcome
from medvqa.models.base import Generation
from medvqa.models.calibration import (
    Abstention,
    Calibration,
    Confidence,
    Familiarity,
    read_calibration,
    write_calibration,
)
from medvqa.types import Token

SCALING = Confidence(slope=0.5, intercept=-1.0)
PROMISE = Abstention(alpha=0.1, threshold=0.6, answered=0.8)


def said(probability: float) -> Generation:
    token = Token(text="yes", log_probability=math.log(probability))
    return Generation(text="yes", tokens=(token,), token_ids=(7,))


def calibrated(calibration: Calibration | None) -> FakeModel:
    model = FakeModel(lambda _: 0.5)
    model.calibration = calibration  # type: ignore[attr-defined]
    return model


def simulated(seed: int, *, groups: int, each: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Overconfident answers whose chance of being right differs between groups."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), each)
    score = rng.normal(2, 1.5, groups * each) + rng.normal(0, 0.7, groups)[group]
    right = rng.random(groups * each) < 1 / (1 + np.exp(-score))
    return 1 / (1 + np.exp(-2 * score - 1)), right, group


def test_a_model_that_was_not_calibrated_says_so() -> None:
    assert judge_confidence(FakeModel(lambda _: 0.5), said(0.7)) == (pytest.approx(0.7), False, False)
    only_layers = Calibration(weights_sha256="", attention_layers=(0,))
    assert judge_confidence(calibrated(only_layers), said(0.7)) == (pytest.approx(0.7), False, False)


@pytest.mark.parametrize(("probability", "abstains"), [(0.9, True), (0.999, False)])
def test_calibrated_confidence_is_scaled_and_abstains_under_the_threshold(
    probability: float, abstains: bool
) -> None:
    model = calibrated(Calibration(weights_sha256="", confidence=SCALING, abstention=PROMISE))
    expected = 1 / (1 + math.exp(-(0.5 * math.log(probability / (1 - probability)) - 1)))
    assert judge_confidence(model, said(probability)) == (pytest.approx(expected), True, abstains)
    assert mean_token_probability(said(probability)) == pytest.approx(probability)
    assert judge_confidence(model, said(probability), familiar=False) == (
        pytest.approx(probability),
        False,
        False,
    )


@given(st.floats(0, 1), st.floats(0, 1))
def test_scaling_keeps_the_order_and_stays_a_probability(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 < scale_probability(low, SCALING) <= scale_probability(high, SCALING) < 1


def test_scaling_mends_an_overconfident_model() -> None:
    probability, right, _ = simulated(0, groups=600)
    scaling = fit_scaling(probability, right)
    assert scaling is not None
    assert scaling.slope == pytest.approx(0.5, abs=0.1)
    assert scale_all(probability[:9], scaling).tolist() == pytest.approx(
        [scale_probability(float(one), scaling) for one in probability[:9]]
    )
    fresh, outcome, _ = simulated(1, groups=600)
    assert calibration_error(fresh, outcome) > 0.05
    assert calibration_error(scale_all(fresh, scaling), outcome) < 0.03
    assert brier_score(scale_all(fresh, scaling), outcome) < brier_score(fresh, outcome)


def test_scaling_needs_right_and_wrong_answers_and_never_turns_the_order_round() -> None:
    probability = np.array([0.2, 0.4, 0.9, 0.95])
    assert fit_scaling(probability, np.ones(4, dtype=bool)) is None
    backwards = fit_scaling(probability, np.array([True, True, False, False]))
    assert backwards is not None
    assert scale_probability(0.9, backwards) == pytest.approx(0.5)
    assert scale_probability(0.1, backwards) == pytest.approx(0.5)


def test_calibration_error_is_the_mean_distance_of_confidence_from_accuracy() -> None:
    confidence = np.array([0.9] * 10 + [0.3] * 10)
    right = np.array([True] * 6 + [False] * 4 + [True] * 3 + [False] * 7)
    assert calibration_error(confidence, right) == pytest.approx(0.15)
    assert calibration_error(confidence, right, equal_mass=True) == pytest.approx(0.15)
    assert [count for _, _, count in bin_answers(confidence, right)] == [10, 10]
    assert sum(count for _, _, count in bin_answers(np.array([0.0, 1.0]), right[:2])) == 2


def test_risk_is_traced_from_the_surest_answer_on() -> None:
    answered, wrong = trace_risk(np.array([0.5, 0.9, 0.7]), np.array([False, True, True]))
    assert answered.tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert wrong.tolist() == pytest.approx([0, 0, 1 / 3])


@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_the_promise_is_kept_on_average_and_not_by_silence(alpha: float) -> None:
    errors: list[float] = []
    shares: list[float] = []
    for seed in range(40):
        confidence, right, group = simulated(seed, groups=800)
        early = group < 400
        threshold = choose_threshold(confidence[early], right[early], group[early], alpha=alpha)
        assert threshold is not None
        answered = confidence[~early] >= threshold
        errors.append(float((~right[~early][answered]).mean()))
        shares.append(float(answered.mean()))
    assert alpha - 0.02 < np.mean(errors) <= alpha + 0.002
    assert 0.3 < np.mean(shares) < 1


def test_a_promise_that_cannot_be_kept_is_not_made() -> None:
    rng = np.random.default_rng(0)
    confidence, right = rng.random(400), rng.random(400) < 0.5
    assert choose_threshold(confidence, right, np.arange(400), alpha=0.05) is None
    few = np.ones(5, dtype=bool)  # all right, but five groups promise nothing about a sixth
    assert choose_threshold(confidence[:5], few, np.arange(5), alpha=0.1) is None
    assert choose_threshold(confidence[:20], np.ones(20, dtype=bool), np.arange(20), alpha=0.1) is not None


def test_answers_of_one_confidence_are_given_or_withheld_together() -> None:
    confidence = np.full(100, 0.8)
    right = np.arange(100) >= 20
    assert choose_threshold(confidence, right, np.arange(100), alpha=0.1) is None
    assert choose_threshold(confidence, right, np.arange(100), alpha=0.25) == pytest.approx(0.8)


def test_the_interval_of_few_groups_is_wider_than_that_of_many() -> None:
    right = np.sort(np.random.default_rng(0).random(400) < 0.7)

    def width(groups: np.ndarray) -> float:
        drawn = intervals(groups, lambda chosen: {"accuracy": float(right[chosen].mean())}, seed=0)
        return drawn["accuracy"][1] - drawn["accuracy"][0]

    assert width(np.arange(400)) == pytest.approx(0.09, abs=0.02)
    assert width(np.arange(400) // 100) > 0.3


def outcomes(seed: int = 0) -> list[Outcome]:
    probability, right, group = simulated(seed, groups=200)
    return [
        Outcome(group=f"g{one}", kind="side", wording="given", probability=float(sure), right=bool(good))
        for sure, good, one in zip(probability, right, group, strict=True)
    ]


@pytest.mark.slow
def test_measuring_fits_one_half_and_measures_the_other() -> None:
    measured = measure_confidence(outcomes(), alpha=0.1, seed=3)
    figures = measured.figures
    assert (figures["fitted"]["groups"], figures["measured"]["groups"]) == (100, 100)
    assert measured.abstention is not None
    assert measured.abstention.answered == figures["measured"]["answered"]["value"]
    low, high = figures["measured"]["accuracy"]["interval"]
    assert low < figures["measured"]["accuracy"]["value"] < high
    assert figures["over_20_splits"]["error_answered"]["mean"] == pytest.approx(0.1, abs=0.02)
    assert measure_confidence(outcomes(), alpha=0.1, seed=3).figures == figures


def test_too_little_to_measure_is_refused() -> None:
    with pytest.raises(TrainingError, match="at least 20 groups"):
        measure_confidence(outcomes()[:80], alpha=0.1, seed=0)
    with pytest.raises(TrainingError, match="some are right and some wrong"):
        measure_confidence([replace(one, right=True) for one in outcomes()], alpha=0.1, seed=0)


FAMILIARITY = Familiarity(
    threshold=3.5,
    kinds=("brain", "chest"),
    means=np.arange(6, dtype=np.float32).reshape(2, 3),
    precision=np.eye(3, dtype=np.float32),
)
WHOLE = Calibration(
    weights_sha256="w",
    adapter_sha256="a",
    confidence=SCALING,
    abstention=PROMISE,
    familiarity=FAMILIARITY,
    attention_layers=(0, 2),
    randomisation={"attention": 0.25},
    measured_on="simulated answers",
)


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_calibration(tmp_path, WHOLE)
    read = read_calibration(tmp_path, weights_sha256="w", adapter_sha256="a")
    assert read is not None
    assert read.familiarity is not None
    assert (read.familiarity.means == FAMILIARITY.means).all()
    assert (read.familiarity.threshold, read.familiarity.kinds) == (3.5, ("brain", "chest"))
    assert replace(read, familiarity=None) == replace(WHOLE, familiarity=None)


def test_a_calibration_of_other_weights_or_with_other_arrays_is_refused(tmp_path: Path) -> None:
    assert read_calibration(tmp_path, weights_sha256="w", adapter_sha256=None) is None
    path = write_calibration(tmp_path, WHOLE)
    with pytest.raises(ModelError, match="other weights"):
        read_calibration(tmp_path, weights_sha256="v", adapter_sha256="a")
    whole = path.read_text()
    for content in (
        "[]",
        "{",
        whole.replace('"slope"', '"steepness"'),
        json.dumps({"familiarity": {"a": 1}}),
    ):
        path.write_text(content)
        with pytest.raises(ModelError, match="medvqa calibrate"):
            read_calibration(tmp_path, weights_sha256="w", adapter_sha256="a")
    path.write_text(whole)
    arrays = tmp_path / "familiarity.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ModelError, match="malformed"):
        read_calibration(tmp_path, weights_sha256="w", adapter_sha256="a")
