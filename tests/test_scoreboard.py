"""The scoreboard: its rows, its counts, and what it says of data that cannot be believed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from typer.testing import CliRunner

from medvqa.cases import Case, read_cases
from medvqa.cli import app
from medvqa.errors import QuestionError, TrainingError
from medvqa.evaluation.answers import answer_cases, choose_others
from medvqa.evaluation.description import describe_board, describe_identity
from medvqa.evaluation.duplicates import find_duplicates
from medvqa.evaluation.page import write_page
from medvqa.evaluation.scoreboard import ROWS, choose_split, measure, most_frequent, score_row
from medvqa.models.base import Generation
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.simulation import insert_nodule, phantom, place_nodule
from medvqa.types import NOT_FOR_DIAGNOSIS, Image, Token


def case(number: int, **changed: Any) -> Case:
    known: dict[str, Any] = {
        "image": Path(f"{number}.png"),
        "question": "Is it bright?",
        "answer": "yes",
        "answer_type": "closed",
        "kind": "bright",
        "group": f"g{number}",
    }
    return Case(**known | changed)


class Photometer:
    """Says whether an image is bright on its left; to a long question nothing."""

    modalities: frozenset[str] = frozenset()
    calibration = None

    def generate_many(self, asked: Sequence[tuple[Image, str]]) -> list[Generation]:
        if any(len(question) > 100 for _, question in asked):
            raise QuestionError("too long")
        return [self._say(image) for image, _ in asked]

    def answer_many(self, images: Sequence[Image], questions: Sequence[str]) -> list[str]:
        if any(len(question) > 100 for question in questions):
            raise QuestionError("too long")
        return [self._say(image).text for image in images]

    def _say(self, image: Image) -> Generation:
        columns = image.shape[1] // 2
        bright = image.pixels[:, :columns].mean() > image.pixels[:, columns:].mean() + 0.1
        token = Token(text="", log_probability=-0.1)
        return Generation(text="Yes." if bright else "no", tokens=(token,), token_ids=(1,))


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images, the even ones bright on their left; two questions about each."""
    folder, rng = tmp_path_factory.mktemp("bright"), np.random.default_rng(2)
    rows: list[dict[str, Any]] = []
    for number in range(12):
        pixels = rng.integers(0, 100, (48, 48), dtype=np.uint8)
        pixels[:, :24] += 100 * (number % 2 == 0)
        PillowImage.fromarray(pixels).save(folder / f"{number}.png")
        for kind in ("bright", "age"):
            answer = ("yes" if number % 2 == 0 else "no") if kind == "bright" else "cannot be determined"
            rows.append(
                {
                    "image": f"{number}.png",
                    "question": f"Which {kind}?",
                    "answer": answer,
                    "kind": "bright" if kind == "bright" else "unanswerable",
                    "group": f"g{number}",
                }
            )
    (folder / "cases.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_the_rows_expose_what_the_image_does(bright: Path) -> None:
    cases = read_cases(bright)
    model: Any = Photometer()
    told: list[int] = []
    answers = answer_cases(model, cases, on_answered=told.append)
    board = measure(cases, answers)
    assert sum(told) == 3 * len(cases)
    seen = {name: board.rows[name].by_kind["bright"].figures["closed_by_yes_no"] for name in ROWS}
    assert seen["model"] == 1
    assert seen["blank_image"] == seen["majority"] == 0.5
    assert seen["other_image"] is not None
    assert seen["other_image"] < 1
    row = board.rows["model"]
    assert (row.cases, row.groups, row.figures["unanswerable_refused"]) == (24, 12, 0)
    assert row.figures["answerable_refused"] == 0
    assert board.rows["majority"].figures["unanswerable_refused"] == 1
    low, high = row.intervals["exact_match"] or (0, 0)
    assert low <= (row.figures["exact_match"] or 0) <= high
    assert board.majority_from == "measured"


def test_questions_that_cannot_be_read_count_as_wrong(bright: Path) -> None:
    cases = [*read_cases(bright)[:4], case(0, image=bright / "0.png", question="?" * 200, group="g0")]
    model: Any = Photometer()
    answers = answer_cases(model, cases)
    board = measure(cases, answers)
    assert board.not_asked == 1
    assert answers.said[-1].text == answers.blank_image[-1] == answers.other_image[-1] == ""
    assert answers.said[0].text == "Yes."


def test_another_image_is_of_another_group_and_of_the_same_kind_where_there_is_one() -> None:
    cases = [case(number % 4, kind="a" if number < 6 else "b") for number in range(8)]
    cases.append(case(9, kind="alone"))
    for seed in range(5):
        for one, other in zip(cases, choose_others(cases, seed=seed), strict=True):
            assert other is not None
            assert cases[other].group != one.group
            assert cases[other].kind == one.kind or one.kind == "alone"
    assert choose_others(cases, seed=1) == choose_others(cases, seed=1)
    assert choose_others(cases, seed=1) != choose_others(cases, seed=2)
    assert choose_others([case(1), case(1)], seed=0) == [None, None]


def test_intervals_count_groups_and_not_cases() -> None:
    apart = [case(number) for number in range(40)]
    tied = [case(number, group=f"g{number // 20}") for number in range(40)]
    texts = ["yes"] * 20 + ["no"] * 20
    widths: list[float] = []
    for cases in (apart, tied):
        low, high = score_row(cases, texts).intervals["exact_match"] or (0, 0)
        widths.append(high - low)
    assert widths[0] < 0.4
    assert widths[1] == 1
    row = score_row(apart, texts)
    assert (row.figures["open_f1"], row.intervals["open_f1"]) == (None, None)


def test_what_training_says_most_is_the_majority() -> None:
    training = [case(1, answer="no"), case(2, answer="no"), case(3), case(4, kind="other", answer="left")]
    assert most_frequent(training) == {"bright": "no", "other": "left", "": "no"}


def test_only_what_is_held_back_is_measured() -> None:
    splits = ("train", "val", "test", None)
    cases = [case(number, split=split) for number, split in enumerate(splits)]
    assert [one.split for one in choose_split(cases, None)] == ["test", None]
    assert [one.split for one in choose_split(cases[:2], None)] == ["val"]
    assert [one.split for one in choose_split(cases[:1], None)] == ["train"]
    assert [one.split for one in choose_split(cases, "val")] == ["val"]
    with pytest.raises(TrainingError, match="split test"):
        choose_split(cases[:2], "test")


def test_near_duplicates_are_found_and_others_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    cases: list[Case] = []
    for number in range(4):
        picture = PillowImage.fromarray((phantom("brain", rng, shape=(160, 160)) * 255).astype(np.uint8))
        picture.save(tmp_path / f"{number}.png")
        cases.append(case(number, image=tmp_path / f"{number}.png"))
    PillowImage.open(tmp_path / "2.png").resize((120, 120)).save(tmp_path / "again.jpg", quality=60)
    copy = case(9, image=tmp_path / "again.jpg")
    (found,) = find_duplicates([copy], cases)
    assert (found.image.name, found.train_image.name) == ("again.jpg", "2.png")
    assert 0 < found.distance <= 25
    assert not find_duplicates(cases[:2], cases[2:])
    assert not find_duplicates(cases, [])


@pytest.fixture(scope="module")
def nodules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with splits, a divided group, and a test image that training holds too."""
    folder, rng = tmp_path_factory.mktemp("nodules"), np.random.default_rng(4)
    rows: list[dict[str, Any]] = []
    for number in range(6):
        pixels = phantom("brain", rng, shape=(96, 96))
        nodule = place_nodule(pixels, rng)
        shown = insert_nodule(pixels, nodule) if number % 2 else pixels
        PillowImage.fromarray((shown * 255).astype(np.uint8)).save(folder / f"{number}.png")
        row = {"image": f"{number}.png", "group": f"p{number}", "split": "train" if number < 2 else "test"}
        rows.append(row | {"question": "Is there a nodule?", "answer": "yes" if number % 2 else "no"})
        rows.append(row | {"question": "Which organ is shown?", "answer": "<b>brain</b>", "kind": "organ"})
    PillowImage.open(folder / "1.png").save(folder / "copy.png")
    rows.append(
        {
            "image": "copy.png",
            "question": "Is there a nodule?",
            "answer": "yes",
            "group": "p1",
            "split": "test",
        }
    )
    (folder / "asked.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder / "asked.jsonl"


def test_the_command_prints_the_form_that_scripts_read(nodules: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = CliRunner().invoke(app, ["evaluate", str(nodules), "--json", "--html", str(page)])
    assert result.exit_code == 0, result.output
    described = json.loads(result.stdout)
    assert set(described["rows"]) == {"model", "blank_image", "other_image", "majority"}
    for row in described["rows"].values():
        assert 0 <= row["by_kind"]["organ"]["exact_match"] <= 1
        assert len(row["intervals"]["exact_match"]) == 2
    assert (described["cases"], described["groups"], described["divided_groups"]) == (9, 5, 1)
    assert described["duplicates"] == [{"image": "copy.png", "train_image": "1.png", "distance": 0}]
    assert described["majority_from"] == "train"
    assert described["tokens_per_second"] > 0
    assert described["peak_memory_mb"] > 50
    assert described["model"]["weights_sha256"]
    html = page.read_text(encoding="utf-8")
    assert NOT_FOR_DIAGNOSIS in html
    assert "&lt;b&gt;brain" in html
    assert "<b>brain" not in html
    assert "data:image/jpeg;base64," in html
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", html)


def test_the_table_shows_all_rows_and_the_warnings(nodules: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", str(nodules), "--limit", "4", "--split", "test"])
    assert result.exit_code == 0, result.output
    for part in ("4 cases", "blank image", "majority", "organ", "several splits", NOT_FOR_DIAGNOSIS):
        assert part in result.stdout


def test_an_unreadable_image_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG nothing")
    row = {"image": "bad.png", "question": "What?", "answer": "so"}
    (tmp_path / "cases.jsonl").write_text(json.dumps(row))
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path)])
    assert isinstance(result.exception, TrainingError)
    assert "bad.png" in str(result.exception)


def test_the_page_shows_the_surest_mistake_first(bright: Path, default_model: HuggingFaceModel) -> None:
    cases = read_cases(bright)[:6]
    answers = answer_cases(default_model, cases)
    html = write_page(
        cases,
        answers,
        board := measure(cases, answers),
        _described(board, default_model, cases),
    )
    shown = [float(value) for value in re.findall(r"<dt>confidence</dt><dd>([\d.]+)", html)]
    assert shown
    assert shown == sorted(shown, reverse=True)


def _described(board: Any, model: HuggingFaceModel, cases: Sequence[Case]) -> dict[str, Any]:
    return describe_board(board) | {
        "cases": len(cases),
        "groups": 3,
        "duplicates": [],
        "divided_groups": 0,
        "model": describe_identity(model.identity),
        "seed": 0,
    }
