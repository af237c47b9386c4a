"""`medvqa audit replay`: exit codes, JSON, and what a person reads; recorded before anything is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_builder import image, write
from tiny_models import write_llava
from typer.testing import CliRunner, Result

from audit import Entry, Filter, Log, ReadError
from medvqa.assistant import Assistant
from medvqa.cli import app
from medvqa.models.loading import load_model
from medvqa.study import read_study

QUESTION = "Is there a nodule?"


@pytest.fixture
def trail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    monkeypatch.setenv("MEDVQA_AUDIT_URL", str(tmp_path / "audit.sqlite"))
    monkeypatch.setenv("MEDVQA_AGENT", "auditor-2")
    return Log(f"sqlite:///{tmp_path / 'audit.sqlite'}")


@pytest.fixture
def row(trail: Log, tmp_path: Path) -> str:
    pixels = np.random.default_rng(0).integers(-1000, 1000, (48, 40)).astype(np.int16)
    study = read_study(write(tmp_path / "one.dcm", image(pixels)))
    model = load_model(write_llava(tmp_path / "model"), device="cpu", max_new_tokens=3)
    return str(Assistant(model, audit=trail).ask(study, QUESTION).audit_id)


def replay(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["audit", "replay", *arguments])


def test_an_identical_replay_exits_with_0_and_is_recorded(trail: Log, row: str, tmp_path: Path) -> None:
    result = replay(row, "--study", str(tmp_path / "one.dcm"))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"identical: row {row} ")
    (event,) = trail.read(Filter(action="replay"))
    assert event.agent == "auditor-2"


def test_a_difference_exits_with_1_and_is_named(row: str, tmp_path: Path) -> None:
    weights = tmp_path / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    result = replay(row, "--study", str(tmp_path / "one.dcm"))
    assert result.exit_code == 1
    assert "the first thing that differs is the weights" in result.stdout
    assert "The model was not run" in result.stdout
    told = json.loads(replay(row, "--study", str(tmp_path / "one.dcm"), "--json").stdout)
    assert told["identical"] is False
    assert told["reproduced"] is None
    assert [difference["what"] for difference in told["differences"]] == ["weights"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"answer": "no"}, "The words are not the recorded ones."),
        (
            {"checks": {"verdict": "fragile", "confidence": 0.5}},
            "The words are the recorded ones; the numbers are not.",
        ),
        ({}, "identical: row"),
    ],
)
def test_words_and_numbers_are_told_apart(
    trail: Log, row: str, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    entity = {**next(trail.read(Filter(sequence=int(row)))).entity, **change}
    other = trail.append(Entry(agent="dr-17", action="answer", subject="other", entity=entity))
    assert told in replay(str(other.sequence), "--study", str(tmp_path / "one.dcm")).stdout


def test_a_row_that_is_not_there(trail: Log, tmp_path: Path) -> None:
    trail.close()
    result = replay("7", "--study", str(tmp_path))
    assert isinstance(result.exception, ReadError)
    assert result.stdout == ""
