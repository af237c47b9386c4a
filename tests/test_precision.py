"""Weights in other numbers: what answers as before, what is refused, and what the trail says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from dicom_builder import image as dicom_image
from dicom_builder import write

from audit import Filter, Log
from medvqa.assistant import Assistant
from medvqa.errors import ModelError, SettingsError
from medvqa.heatmaps import HEATMAPS
from medvqa.models.loading import load_model
from medvqa.models.precision import PRECISIONS, dtype_of
from medvqa.records import Agent
from medvqa.replay import replay_answer
from medvqa.settings import load_settings
from medvqa.simulation import phantom
from medvqa.study import read_study
from medvqa.training.pictures import Picture, to_image
from medvqa.training.questions import Content

if TYPE_CHECKING:
    from pathlib import Path

    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import HeatmapMethod, Image, Precision

QUESTION = "Which organ is shown?"
BY_GRADIENT: tuple[HeatmapMethod, ...] = (
    "relevancy",
    "integrated_gradients",
    "token_integrated_gradients",
    "grad_cam",
)


@pytest.fixture(scope="module")
def chest() -> Image:
    pixels = phantom("chest", np.random.default_rng(0), shape=(96, 96))
    content = Content(organ="chest", finding=None, simulated=None, shape=(96, 96))
    return to_image(Picture(pixels=pixels, content=content, name="chest", group="chest"))


@pytest.fixture(scope="module")
def rounded() -> HuggingFaceModel:
    return load_model(precision="int8", device="cpu")


ON_A_CPU = [pair for pair in PRECISIONS.items() if not pair[0].endswith("bit")]


@pytest.mark.parametrize(("recorded", "precision"), ON_A_CPU)
def test_the_answer_stays_and_the_numbers_hardly_move(
    recorded: str, precision: Precision, chest: Image, default_model: HuggingFaceModel
) -> None:
    before = default_model.generate(chest, QUESTION)
    other = load_model(precision=precision, device="cpu")
    after = other.generate(chest, QUESTION)
    assert after.text == before.text
    assert other.identity.parameters["dtype"] == recorded
    likelihood = other.log_likelihood(chest, QUESTION, before.token_ids)
    assert likelihood == pytest.approx(
        default_model.log_likelihood(chest, QUESTION, before.token_ids), abs=0.05
    )
    assert (likelihood == default_model.log_likelihood(chest, QUESTION, before.token_ids)) == (
        precision == "fp32"
    )


@pytest.mark.parametrize("method", sorted(HEATMAPS))
def test_int8_weights_draw_what_needs_no_gradient_and_refuse_the_rest(
    method: HeatmapMethod, chest: Image, rounded: HuggingFaceModel
) -> None:
    answer = rounded.generate(chest, QUESTION)
    if method in BY_GRADIENT:
        with pytest.raises(ModelError, match="choose attention, rollout or occlusion"):
            HEATMAPS[method](rounded, chest, QUESTION, answer)
    else:
        assert HEATMAPS[method](rounded, chest, QUESTION, answer).values.max() == 1


def test_int8_weights_cannot_be_randomised(rounded: HuggingFaceModel) -> None:
    with pytest.raises(ModelError, match="int8 cannot be altered"):
        rounded.altered(lambda _: None)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ModelError, match="int8 is for a CPU, not for cuda; choose bf16"):
        dtype_of("int8", torch.device("cuda"))
    with pytest.raises(ModelError, match="one of fp32, bf16, int8, 8bit, 4bit, got 'int4'"):
        load_model(precision="int4")  # pyright: ignore[reportArgumentType]
    with pytest.raises(SettingsError, match="option 'precision' must be one of fp32, bf16, int8, 8bit, 4bit"):
        load_settings(precision="int4")


@pytest.mark.slow
def test_an_answer_replays_in_the_precision_it_was_given_in(
    tmp_path: Path, rounded: HuggingFaceModel
) -> None:
    pixels = np.random.default_rng(0).integers(-1000, 1000, (48, 40)).astype(np.int16)
    write(tmp_path / "study" / "0.dcm", dicom_image(pixels))
    with Log(f"sqlite:///{tmp_path / 'audit.sqlite'}") as log:
        answer = Assistant(rounded, audit=log, agent="dr-17", unfamiliar="warn").ask(
            read_study(tmp_path / "study"), QUESTION
        )
        assert replay_answer(log, answer.answer_id, tmp_path / "study", by=Agent(name="dr-17")).identical
        recorded = next(log.read(Filter(sequence=answer.audit_id))).entity
    assert '"int8"' in str(recorded).replace("'", '"')
