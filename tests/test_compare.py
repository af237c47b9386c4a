"""The release gate: what it refuses, and that it leaves the harmless alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from planted_models import text_only_model
from typer.testing import CliRunner

from medvqa.cases import Case, read_cases, read_image
from medvqa.cli import app
from medvqa.cli import compare as command
from medvqa.evaluation.candidates import Measured, draw_sample
from medvqa.evaluation.comparison import Comparison, compare, explain_refusal
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.simulation import insert_nodule, phantom, place_nodule

COUNT = 200


def cases(count: int = COUNT) -> list[Case]:
    return [
        Case(
            image=Path("0.png"),
            question="?",
            answer="yes",
            answer_type="closed",
            kind="rare" if number % 5 == 0 else "common",
            group=f"g{number}",
        )
        for number in range(count)
    ]


def measured(
    right: Sequence[bool] | np.ndarray[Any, Any],
    *,
    confidence: float | None = None,
    effect: float = 3.0,
    good: float = 0.8,
) -> Measured:
    """A model that is sure of what it has right, unless `confidence` says otherwise."""
    known = np.asarray(right, dtype=bool)
    sure = known.astype(float) if confidence is None else np.full(len(known), confidence)
    spread = np.linspace(0, 1, 100)
    return Measured(
        right=known, confidence=sure, effects=effect * (1 + 0.1 * spread), good=spread[::2] < good
    )


def judge(first: Measured, second: Measured) -> Comparison:
    asked = cases()
    sample = draw_sample(asked, effects=100, heatmaps=50, seed=0)
    return compare(asked, sample, first, second)


def refused(comparison: Comparison) -> list[str]:
    return [figure.name for figure in comparison.figures if figure.refused]


RIGHT = np.arange(COUNT) % 10 < 7
BETTER = np.arange(COUNT) % 10 < 8


def test_the_same_model_passes() -> None:
    found = judge(measured(RIGHT), measured(RIGHT))
    assert found.passes
    assert (found.only_first, found.only_second, found.mcnemar) == (0, 0, 1.0)
    assert all(figure.interval == (0, 0) for figure in found.figures)


def test_a_better_model_passes() -> None:
    found = judge(measured(RIGHT), measured(BETTER))
    assert found.passes
    assert found.mcnemar < 1e-4
    assert "passes" in explain_refusal(found)


@pytest.mark.parametrize(
    ("second", "name"),
    [
        (measured(BETTER, effect=0.01), "image-blind answers"),
        (measured(BETTER, effect=1.0), "mean image effect, nats"),
        (measured(BETTER, good=0.2), "heatmaps graded good"),
        (measured(BETTER, confidence=0.99), "calibration error"),
        (measured(np.arange(COUNT) % 5 != 0), "accuracy of the worst kind"),
    ],
)
def test_more_accuracy_buys_nothing_else(second: Measured, name: str) -> None:
    found = judge(measured(RIGHT), second)
    assert found.figures[0].change > 0
    assert name in refused(found)
    assert "accuracy" not in refused(found)
    assert "although its accuracy rose" in explain_refusal(found)


def test_less_accuracy_is_refused() -> None:
    assert "accuracy" in refused(judge(measured(BETTER), measured(RIGHT)))


def test_a_kind_that_falls_is_refused_though_another_is_worse() -> None:
    first = np.where(np.arange(COUNT) % 5 == 0, np.arange(COUNT) % 10 < 5, True)
    second = np.where(np.arange(COUNT) % 5 == 0, True, np.arange(COUNT) % 3 != 0)
    assert "largest fall of a kind: common" in refused(judge(measured(first), measured(second)))


def test_a_small_loss_that_chance_explains_is_let_through() -> None:
    second = RIGHT.copy()
    second[[0, 7]] = ~second[[0, 7]]
    assert judge(measured(RIGHT), measured(second)).passes


def test_groups_count_once() -> None:
    """Twenty cases lost in one group are one loss."""
    asked = [one if number >= 20 else replace(one, group="one") for number, one in enumerate(cases())]
    lost = RIGHT.copy()
    lost[:20] = False
    sample = draw_sample(asked, effects=0, heatmaps=0, seed=0)
    tied = compare(asked, sample, measured(RIGHT), measured(lost)).figures[0]
    apart = compare(cases(), sample, measured(RIGHT), measured(lost)).figures[0]
    assert apart.refused
    assert not tied.refused


def test_unanswerable_questions_are_not_looked_at() -> None:
    asked = [*cases(3), replace(cases(1)[0], kind="unanswerable")]
    sample = draw_sample(asked, effects=10, heatmaps=2, seed=0)
    assert sorted(sample.effects) == [0, 1, 2]
    assert set(sample.heatmaps) <= set(sample.effects)


@pytest.fixture(scope="module")
def blind_answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms of three organs, a third with a nodule; right is what a model says that sees nothing."""
    folder, rng = tmp_path_factory.mktemp("blind"), np.random.default_rng(6)
    blind = text_only_model()
    rows: list[str] = []
    for number in range(18):
        pixels = phantom(("brain", "chest", "breast")[number % 3], rng, shape=(96, 96))
        if number % 2:
            pixels = insert_nodule(pixels, place_nodule(pixels, rng))
        PillowImage.fromarray((pixels * 255).astype(np.uint8)).save(folder / f"{number}.png")
        for question in ("Which organ is shown?", "Is there a nodule?"):
            row = {"image": f"{number}.png", "question": question, "kind": question.split()[0]}
            rows.append(json.dumps(row | {"answer": "to come"}))
    path = folder / "cases.jsonl"
    path.write_text("\n".join(rows))
    said = blind.generate(_first(path), "Which organ is shown?").text
    present = blind.generate(_first(path), "Is there a nodule?").text
    text = path.read_text().splitlines()
    path.write_text("\n".join(line.replace("to come", said if "organ" in line else present) for line in text))
    return path


def _first(path: Path) -> Any:
    return read_image(read_cases(path)[0])


@pytest.mark.slow
def test_a_model_that_looks_away_is_refused_though_it_gains(
    blind_answers: Path, default_model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {"looks": default_model, "looks-away": text_only_model()}
    monkeypatch.setattr(command, "_load", lambda name, _: models[name])
    arguments = ["compare", "looks", "looks-away", str(blind_answers), "--sample", "12", "--heatmaps", "2"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 1, result.output
    found = json.loads(result.stdout)
    assert found["figures"]["accuracy"]["change"] > 0
    assert found["figures"]["image-blind answers"]["b"] == 1
    assert found["figures"]["image-blind answers"]["refused"]
    assert "although its accuracy rose" in found["why"]


@pytest.mark.slow
def test_a_model_against_itself_passes(blind_answers: Path) -> None:
    arguments = ["compare", "default", "default", str(blind_answers), "--sample", "3", "--heatmaps", "1"]
    result = CliRunner().invoke(app, [*arguments, "--limit", "8"])
    assert result.exit_code == 0, result.output
    assert "B passes" in result.stdout
    assert "not for diagnostic use" in result.stdout
