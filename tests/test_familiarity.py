"""An image unlike anything in training is refused before it is answered about, and familiar ones are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_builder import image, planted, write
from sklearn.datasets import load_sample_images
from tiny_models import noise, shown

import medvqa
from audit import Log
from medvqa.assistant import Assistant
from medvqa.checks.familiarity import check_familiarity, image_features, measure_distance
from medvqa.errors import GateError
from medvqa.models.calibration import Familiarity
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.simulated_study import write_simulated_study
from medvqa.simulation import phantom
from medvqa.study import read_study

QUESTION = "Is there a nodule?"


@pytest.fixture(scope="module")
def shipped() -> HuggingFaceModel:
    """The default model as it ships: the fixture that others share takes everything for familiar."""
    model = medvqa.load_model()
    assert model.calibration is not None
    assert model.calibration.familiarity is not None
    return model


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with Log(f"sqlite:///{tmp_path / 'audit.sqlite'}") as opened:
        yield opened


def strange_pictures() -> dict[str, np.ndarray]:
    """None of them an image of training; the last is a drawn bone with a joint, in place of a knee film."""
    rows, columns = np.mgrid[:200, :200] / 200
    bone = (
        0.1 + 0.3 * (abs(columns - 0.5) < 0.3) + 0.45 * (abs(columns - 0.5) < 0.12) * (abs(rows - 0.5) > 0.03)
    )
    photograph = load_sample_images().images[0] / 255
    return {
        "noise": noise(128, 128).pixels,
        "stripes": 0.5 + 0.5 * np.sin(60 * columns),
        "checkers": (np.floor(rows * 8) + np.floor(columns * 8)) % 2,
        "photograph": photograph,
        "grey photograph": photograph.mean(-1),
        "bone": bone + np.random.default_rng(0).normal(0, 0.02, bone.shape),
    }


@pytest.mark.parametrize("name", list(strange_pictures()))
def test_what_is_no_familiar_image_is_refused(shipped: HuggingFaceModel, name: str) -> None:
    picture = shown(np.clip(strange_pictures()[name], 0, 1))
    with pytest.raises(GateError, match="unlike anything the model was trained on"):
        check_familiarity(shipped, picture)
    (notice,) = check_familiarity(shipped, picture, unfamiliar="warn")
    assert notice.code == "unfamiliar_image"


@pytest.mark.parametrize(
    "organ",
    [pytest.param("brain", marks=pytest.mark.slow), "chest", pytest.param("breast", marks=pytest.mark.slow)],
)
def test_phantoms_like_those_of_training_pass(shipped: HuggingFaceModel, organ: Any) -> None:
    rng = np.random.default_rng(12)
    refused = sum(
        bool(check_familiarity(shipped, shown(phantom(organ, rng, shape=(192, 192))), unfamiliar="warn"))
        for _ in range(8)
    )
    assert refused == 0


def test_the_simulated_study_is_answered(shipped: HuggingFaceModel, log: Log, tmp_path: Path) -> None:
    write_simulated_study(tmp_path / "study", seed=7)
    assistant = Assistant(shipped, audit=log, key_folder=tmp_path / "keys")
    study = read_study(tmp_path / "study")
    for number in (1, 2, 3):
        warned = assistant.ask(study, QUESTION, image_number=number).warnings
        assert "unfamiliar_image" not in [notice.code for notice in warned]


def test_a_refusal_is_recorded_with_its_reason_before_any_answer(
    shipped: HuggingFaceModel, log: Log, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 300, (90, 80)).astype(np.int16)
    study = read_study(write(tmp_path / "a.dcm", planted(image(pixels, Modality="MR"))))
    assistant = Assistant(shipped, audit=log, key_folder=tmp_path / "keys")
    with pytest.raises(GateError) as caught:
        assistant.ask(study, QUESTION)
    assert "CANARY" not in str(caught.value)
    events = list(log.read())
    assert [event.action for event in events] == ["load_model", "ask", "refuse"]
    assert events[-1].outcome == "refused"
    assert "unlike anything" in str(events[-1].entity)
    lenient = Assistant(shipped, audit=log, key_folder=tmp_path / "keys", unfamiliar="warn")
    answer = lenient.ask(study, QUESTION)
    assert "unfamiliar_image" in [notice.code for notice in answer.warnings]
    assert answer.checks.verdict != "grounded"
    assert not answer.checks.confidence_calibrated


def test_a_model_without_this_calibration_lets_everything_pass(default_model: HuggingFaceModel) -> None:
    assert check_familiarity(default_model, noise()) == ()


def test_distance_is_to_the_nearest_kind_in_units_of_its_spread() -> None:
    known = Familiarity(
        threshold=1.0,
        kinds=("a", "b"),
        means=np.array([[0, 0], [10, 0]], dtype=np.float32),
        precision=np.diag([1 / 4, 1]).astype(np.float32),
    )
    assert measure_distance(np.array([2.0, 0.0]), known) == pytest.approx(1)
    assert measure_distance(np.array([9.0, 0.0]), known) == pytest.approx(0.5)
    assert measure_distance(np.array([0.0, 3.0]), known) == pytest.approx(3)
    assert measure_distance(known.means[1], known) == 0


def test_features_are_mean_and_spread_of_the_tokens(default_model: HuggingFaceModel) -> None:
    tokens = default_model.encode(noise()).features[0].numpy()
    features = image_features(default_model, noise())
    assert features.shape == (2 * tokens.shape[1],)
    assert np.allclose(features, np.concatenate([tokens.mean(0), tokens.std(0)]))
