"""A row in the trail holds what is needed to check the answer again, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pydicom.data
import pytest

from audit import Event, Filter, Log
from medvqa.assistant import Assistant
from medvqa.digests import digest_model
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.records import heatmap_sha256
from medvqa.study import read_study
from medvqa.types import Answer

MR = Path(pydicom.data.__file__).parent / "test_files" / "MR_small.dcm"
QUESTION = "Is there a tumor?"


@pytest.fixture(scope="module")
def recorded(
    default_model: HuggingFaceModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Answer, Event]]:
    with Log(f"sqlite:///{tmp_path_factory.mktemp('trail') / 'audit.sqlite'}") as log:
        assistant = Assistant(default_model, audit=log, agent="dr-17", role="radiologist")
        answer = assistant.ask(read_study(MR), QUESTION, heatmap="integrated_gradients")
        assert log.verify().intact
        (event,) = log.read(Filter(action="answer"))
        yield answer, event


def plain(value: object) -> object:
    """As JSON gives it back."""
    return json.loads(json.dumps(value, default=dict))


@pytest.mark.slow
def test_the_row_belongs_to_the_answer(recorded: tuple[Answer, Event]) -> None:
    answer, event = recorded
    assert (event.agent, event.action, event.subject) == ("dr-17", "answer", answer.answer_id)
    assert event.sequence == answer.audit_id
    assert event.recorded == answer.created
    assert event.role == "radiologist"


def test_the_row_is_found_by_study_model_verdict_and_confidence(recorded: tuple[Answer, Event]) -> None:
    answer, event = recorded
    assert event.study == answer.image.study_instance_uid
    assert (event.verdict, event.confidence) == (answer.checks.verdict, answer.checks.confidence)
    lines = (
        f"weights {answer.model.weights_sha256}\nadapter none\ntokenizer {answer.model.tokenizer_sha256}\n"
    )
    assert event.model == hashlib.sha256(lines.encode()).hexdigest()


@pytest.mark.parametrize("name", ["weights_sha256", "tokenizer_sha256", "adapter_sha256"])
def test_another_file_is_another_model(default_model: HuggingFaceModel, name: str) -> None:
    other = replace(default_model.identity, **{name: "0" * 64})
    assert digest_model(other) != digest_model(default_model.identity)


def test_the_row_pins_the_exact_prompt(
    recorded: tuple[Answer, Event], default_model: HuggingFaceModel
) -> None:
    _, event = recorded
    ids = default_model.prompt(read_study(MR).images[0], QUESTION).input_ids[0].tolist()
    by_hand = hashlib.sha256(" ".join(str(one) for one in ids).encode()).hexdigest()
    assert event.entity["prompt"] == {"tokens": len(ids), "token_sha256": by_hand}
    assert event.entity["batch_size"] == 1


def test_the_row_holds_question_answer_checks_and_model(recorded: tuple[Answer, Event]) -> None:
    answer, event = recorded
    assert event.entity["question"] == QUESTION
    assert event.entity["answer"] == answer.text
    assert event.entity["tokens"] == plain([asdict(token) for token in answer.tokens])
    assert len(event.entity["token_ids"]) == len(answer.tokens)
    assert event.entity["checks"] == plain(asdict(answer.checks))
    assert event.entity["model"] == plain(asdict(answer.model))
    assert event.entity["model"]["parameters"]["decoding"] == "greedy"
    assert event.entity["warnings"] == [notice.code for notice in answer.warnings]
    assert set(event.entity) == {
        *("question", "image", "modality", "applied", "model"),
        *("prompt", "batch_size", "answer", "tokens", "token_ids", "checks", "heatmap", "warnings"),
        "checks_version",
    }


def test_the_row_names_the_image_by_digests_that_recompute(recorded: tuple[Answer, Event]) -> None:
    answer, event = recorded
    image = event.entity["image"]
    assert image["file_sha256"] == hashlib.sha256(MR.read_bytes()).hexdigest()
    assert {**asdict(answer.image), "rows": 64, "columns": 64} == image
    again = read_study(MR).images[0]
    assert image["pixel_sha256"] == again.ref.pixel_sha256
    assert event.entity["applied"] == plain([asdict(step) for step in again.applied])
    assert event.entity["modality"] == "MR"


def test_the_digest_of_the_heatmap_recomputes(recorded: tuple[Answer, Event], tmp_path: Path) -> None:
    answer, event = recorded
    assert answer.heatmap is not None
    np.save(tmp_path / "map.npy", answer.heatmap.values)
    values = np.load(tmp_path / "map.npy")
    by_hand = hashlib.sha256(b"64x64" + values.astype("<f4").tobytes(order="C")).hexdigest()
    assert event.entity["heatmap"]["sha256"] == by_hand == heatmap_sha256(answer.heatmap)
    assert event.entity["heatmap"]["method"] == "integrated_gradients"
    assert event.entity["heatmap"]["grid"] == [8, 8]
    assert event.entity["heatmap"]["convergence_delta"] == answer.heatmap.convergence_delta


def test_the_answer_can_be_had_again_from_the_row(
    recorded: tuple[Answer, Event], default_model: HuggingFaceModel
) -> None:
    _, event = recorded
    said = default_model.generate(read_study(MR).images[0], event.entity["question"])
    assert said.text == event.entity["answer"]
    assert list(said.token_ids) == event.entity["token_ids"]
    assert default_model.identity.weights_sha256 == event.entity["model"]["weights_sha256"]
