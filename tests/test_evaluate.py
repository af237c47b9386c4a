"""Figures on simulated findings: an oracle's map scores full marks, a misplaced one none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from medvqa.cli import app
from medvqa.evaluation import localisation
from medvqa.evaluation.counterfactuals import compare_mirrored, compare_without
from medvqa.evaluation.intervals import mean_with_interval
from medvqa.evaluation.localisation import locate
from medvqa.models.base import Generation
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.simulated_findings import read_findings, write_findings
from medvqa.types import Heatmap, Image


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("simulated") / "findings"
    write_findings(place, kinds=["nodule"], count=1, seed=2)  # one that the shipped model finds
    return place


@pytest.mark.slow
def test_an_oracle_points_and_a_misplaced_map_does_not(
    default_model: HuggingFaceModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (finding,) = read_findings(folder)

    def draw(values: np.ndarray) -> Any:
        def make(*_: Any) -> Heatmap:
            painted = values.astype(np.float32)
            return Heatmap(method="attention", values=painted, grid=(8, 8), explained="", draw=lambda _: None)

        return make

    mask = finding.mask()
    methods = {"attention": draw(mask), "rollout": draw(mask[::-1, ::-1])}
    monkeypatch.setattr(localisation, "HEATMAPS", MappingProxyType(methods))
    baselines, (oracle, misplaced) = locate(default_model, finding, ["attention", "rollout"])
    found = oracle.overlap
    assert (found.points, found.points_strictly, found.overlap, found.energy) == (1, 1, 1, 1)
    missed = misplaced.overlap
    assert (missed.points, missed.points_strictly, missed.overlap, missed.energy) == (0, 0, 0, 0)
    assert (oracle.level, misplaced.level) == ("good", "chance")
    assert oracle.beats_scattered
    assert oracle.deletion_auc < misplaced.deletion_auc
    assert baselines.chance.points_strictly == pytest.approx(mask.mean())
    assert mask.mean() < baselines.chance.points < 0.2
    assert baselines.centre.points == 0


class Scripted:
    """Answers from a table by the mean of the image's left and right halves."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def generate(self, image: Image, question: str) -> Generation:
        return Generation(text=self._answer(image, question), tokens=(), token_ids=())


def test_pairs_are_counted_by_finding(folder: Path) -> None:
    (finding,) = read_findings(folder)
    blind: Any = Scripted(lambda _image, question: "yes" if question.startswith("Is") else "left")
    assert not any(one.flipped or one.both_right for one in compare_without(blind, finding))
    mirrored = compare_mirrored(blind, finding)
    assert mirrored
    assert not any(one.flipped or one.both_right for one in mirrored)


def test_the_mirror_image_asks_for_the_other_side(default_model: HuggingFaceModel, folder: Path) -> None:
    (finding,) = read_findings(folder)
    mirrored = compare_mirrored(default_model, finding)
    assert all(
        "left" in one.question or "Where" in one.question or "side" in one.question for one in mirrored
    )
    assert all(one.flipped and one.both_right for one in mirrored)


def test_an_interval_holds_the_mean_and_narrows_with_images() -> None:
    few, many = (mean_with_interval([0.0, 1.0] * count) for count in (5, 500))
    assert few is not None
    assert many is not None
    assert few.mean == many.mean == 0.5
    assert few.low < many.low < 0.5 < many.high < few.high
    assert mean_with_interval([]) is None


def test_the_command_prints_json(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "findings"
    shutil.copytree(folder, alone, ignore=shutil.ignore_patterns("cases.jsonl"))
    result = CliRunner().invoke(app, ["evaluate", str(alone), "--json"])
    assert result.exit_code == 0, result.output
    described = json.loads(result.stdout)
    assert (described["findings"], described["simulated"], described["maps"]) == (1, True, {})
    assert described["answers"]["both_right_mirrored"]["mean"] == 1


@pytest.mark.slow
def test_a_folder_with_cases_and_findings_gives_the_scoreboard_or_heatmaps(
    folder: Path, tmp_path: Path
) -> None:
    both = tmp_path / "findings"
    shutil.copytree(folder, both)
    (finding,) = read_findings(both)
    case = {"image": str(finding.image.relative_to(both)), "question": "Which organ?", "answer": "brain"}
    (both / "cases.jsonl").write_text(json.dumps(case))
    scoreboard = json.loads(CliRunner().invoke(app, ["evaluate", str(both), "--json"]).stdout)
    assert scoreboard["cases"] == 1
    maps = CliRunner().invoke(app, ["evaluate", str(both), "--json", "--heatmaps", "--method", "attention"])
    assert "attention" in json.loads(maps.stdout)["maps"]


def test_heatmaps_of_cases_without_findings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cases.jsonl").write_text("{}")
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path), "--heatmaps"])
    assert "findings.jsonl" in str(result.exception)


def test_a_folder_without_findings_is_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path)])
    assert "medvqa simulate" in str(result.exception)
