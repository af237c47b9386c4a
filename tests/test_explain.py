"""`medvqa explain` and `medvqa.explain`: one picture, graded maps, and everything in the trail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from typer.testing import CliRunner

import audit
import medvqa
from medvqa import asking
from medvqa.assistant import Assistant
from medvqa.cli import app
from medvqa.errors import QuestionError
from medvqa.heatmaps import ChosenWord
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.simulated_study import write_simulated_study
from medvqa.types import NOT_FOR_DIAGNOSIS, Curves, HeatmapGrade

QUESTION = "Where is the nodule?"
CURVES = Curves(deletion=(0.9, 0.5, 0.1), insertion=(0.1, 0.5, 0.9))


pytestmark = pytest.mark.usefixtures("own_place")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_simulated_study(tmp_path / "study", seed=7)
    return tmp_path / "study"


def grade(level: Any) -> HeatmapGrade:
    return HeatmapGrade(
        level=level,
        reason=f"This map is {level}.",
        fractions=(0, 0.5, 1),
        curves=CURVES,
        random=CURVES,
        edges=CURVES,
        beaten=1.0,
        infidelity=None,
        randomisation=None,
    )


@pytest.fixture
def graded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention good and rollout chance, without measuring."""
    from dataclasses import replace

    def give(_model: Any, _image: Any, _question: str, _said: Any, heatmap: Any, **_: Any) -> Any:
        return replace(heatmap, grade=grade("good" if heatmap.method == "attention" else "chance"))

    monkeypatch.setattr(asking, "with_grade", give)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["explain", *map(str, arguments)])


def events(tmp_path: Path) -> list[audit.Event]:
    with audit.Log(f"sqlite:///{tmp_path / 'trail.sqlite'}", create=False) as log:
        assert log.verify().intact
        return list(log.read())


@pytest.mark.usefixtures("graded")
def test_the_command_writes_a_picture_and_records_each_map(study: Path, tmp_path: Path) -> None:
    asked = (study, QUESTION, "--image", 2, "--method", "attention", "--method", "rollout")
    result = run(*asked, "--out", "why.png", "--json")
    assert result.exit_code == 0, result.output
    described = json.loads(result.stdout)
    assert [one["method"] for one in described["maps"]] == ["attention", "rollout"]
    assert [one["grade"]["level"] for one in described["maps"]] == ["good", "chance"]
    assert described["slices"]["numbers"] == [1, 2, 3]
    assert described["notice"] == NOT_FOR_DIAGNOSIS
    with PillowImage.open(tmp_path / "why.png") as file:
        assert min(file.size) > 300
        assert np.ptp(np.asarray(file.convert("RGB")).astype(int), axis=2).max() > 50
    recorded = events(tmp_path)
    assert [event.action for event in recorded][-5:] == ["ask", "answer", "explain", "explain", "export"]
    assert {event.subject for event in recorded[-5:]} == {described["answer_id"]}
    maps: list[Any] = [event.entity["heatmap"] for event in recorded[-3:-1]]
    assert [one["grade"]["level"] for one in maps] == ["good", "chance"]
    assert all(one["part"] is None for one in maps)


@pytest.mark.usefixtures("graded")
def test_a_person_reads_grades_and_purpose(study: Path) -> None:
    result = run(study, QUESTION, "--method", "attention", "--word", 1, "--out", "why.png")
    assert result.exit_code == 0, result.output
    for part in ("attention", "good", "This map is good.", "why.png", NOT_FOR_DIAGNOSIS):
        assert part in result.stdout


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--method", "magic"), "is not one of"),
        (("--word", "1", "--against", "no"), "not both"),
    ],
)
def test_bad_options_are_named(tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    result = run(tmp_path, QUESTION, "--out", "why.png", *options)
    assert result.exit_code == 2
    assert told in result.output


@pytest.fixture
def assistant(default_model: HuggingFaceModel, tmp_path: Path) -> Assistant:
    log = audit.Log(f"sqlite:///{tmp_path / 'trail.sqlite'}")
    return Assistant(default_model, audit=log, key_folder=tmp_path / "keys")


@pytest.mark.usefixtures("graded")
def test_one_word_is_explained_and_recorded_as_a_part(assistant: Assistant, study: Path) -> None:
    explanation = medvqa.explain(
        study, QUESTION, assistant=assistant, methods=["attention"], target=ChosenWord(1)
    )
    (mapped,) = explanation.maps
    first = explanation.answer.text.split()[0]
    assert f'"{first}"' in str(mapped.heatmap.part)
    assert explanation.image.ref == explanation.answer.image
    assert explanation.image_number == 2
    (recorded,) = assistant.audit.read(audit.Filter(action="explain"))
    described: Any = recorded.entity["heatmap"]
    assert described["part"] == mapped.heatmap.part


def test_a_word_that_is_not_there_is_refused(assistant: Assistant, study: Path) -> None:
    with pytest.raises(QuestionError, match="count from 1"):
        medvqa.explain(study, QUESTION, assistant=assistant, methods=["attention"], target=ChosenWord(99))


def test_a_map_that_is_chance_is_drawn_in_the_picture_as_the_bare_image(
    assistant: Assistant, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = iter(("chance", "good"))

    def give(_model: Any, _image: Any, _question: str, _said: Any, heatmap: Any, **_: Any) -> Any:
        from dataclasses import replace

        return replace(heatmap, grade=grade(next(levels)))

    monkeypatch.setattr(asking, "with_grade", give)
    reds: list[int] = []
    for number in (1, 2):
        explanation = medvqa.explain(study, QUESTION, assistant=assistant, methods=["attention"])
        explanation.save(tmp_path / f"{number}.png")
        with PillowImage.open(tmp_path / f"{number}.png") as file:
            pixels = np.asarray(file.convert("RGB")).astype(int)
        reds.append(int((pixels[..., 0] - pixels[..., 2] > 60).sum()))
    assert reds[1] - reds[0] > 1000
