"""`medvqa ask`: JSON for scripts, one sentence for whatever goes wrong, and the trail that was named."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.data
import pytest
from command_line import run_medvqa
from dicom_builder import CANARY, image, planted, write
from PIL import Image as PillowImage
from typer.testing import CliRunner

import audit
import medvqa
from medvqa.checks.verdict import MEANINGS
from medvqa.cli import app
from medvqa.types import HeatmapLevel

ROOT = Path(medvqa.__file__).parents[1]
MR = Path(pydicom.data.__file__).parent / "test_files" / "MR_small.dcm"
QUESTION = "Is there a tumor?"


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


Medvqa = Callable[..., Ended]


@pytest.fixture(autouse=True)
def place(own_place: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    monkeypatch.setenv("MEDVQA_UNFAMILIAR", "warn")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Medvqa:
    """Run the command in this process, as the console script does."""

    def medvqa_ask(*arguments: object) -> Ended:
        code, said = run_medvqa("ask", *arguments), capsys.readouterr()
        return Ended(code, said.out, said.err)

    return medvqa_ask


def asked(run: Medvqa, *arguments: object) -> dict[str, Any]:
    ended = run(*arguments, "--json")
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def events(path: Path) -> list[audit.Event]:
    with audit.Log(f"sqlite:///{path}", create=False) as log:
        assert log.verify().intact
        return list(log.read())


def assert_json(described: dict[str, Any]) -> None:
    assert set(described) >= {
        *("text", "checks", "heatmap", "audit_id", "answer_id", "warnings", "model", "seconds", "notice"),
        *("question", "image", "created"),
    }
    checks = described["checks"]
    assert set(checks) >= {"confidence", "image_reliance", "verdict", "confidence_calibrated"}
    assert 0 <= checks["confidence"] <= 1
    assert checks["verdict"] in MEANINGS
    assert checks["image_effect"] >= checks["image_reliance"]
    assert described["audit_id"] > 1
    assert described["seconds"] > 0
    assert described["model"]["name"] == "default"


def test_json_is_all_that_stdout_holds() -> None:
    result = CliRunner().invoke(app, ["ask", str(MR), QUESTION, "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    described = json.loads(result.stdout)
    assert_json(described)
    assert described["heatmap"] is None


@pytest.mark.timeout(600)
def test_a_process_of_its_own_prints_json_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "medvqa", "ask", str(MR), QUESTION, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert_json(json.loads(ended.stdout))
    assert "Traceback" not in ended.stderr
    assert "Warning" not in ended.stderr


def test_a_person_reads_verdict_row_and_purpose(run: Medvqa) -> None:
    ended = run(MR, QUESTION)
    assert ended.code == 0
    for part in (
        "verdict",
        "confidence",
        "image reliance",
        "medvqa audit show ",
        "medvqa review ",
        "not for diagnostic use",
    ):
        assert part in ended.out


def test_out_writes_json_overlay_and_values(
    run: Medvqa, tmp_path: Path, grade_of: Callable[[HeatmapLevel], None]
) -> None:
    grade_of("good")
    described = asked(run, MR, QUESTION, "--heatmap", "attention", "--out", tmp_path / "a" / "b")
    stem = tmp_path / "a" / "b" / described["answer_id"]
    assert {path.name for path in stem.parent.iterdir()} == {
        f"{stem.name}{ending}" for ending in (".json", ".png", ".npy")
    }
    assert json.loads(stem.with_suffix(".json").read_text()) == described
    assert described["heatmap"]["method"] == "attention"
    assert described["heatmap"]["overlay"] == str(stem.with_suffix(".png"))
    assert described["heatmap"]["values"] == str(stem.with_suffix(".npy"))
    assert np.load(stem.with_suffix(".npy")).shape == (64, 64) == tuple(described["heatmap"]["shape"])
    with PillowImage.open(stem.with_suffix(".png")) as file:
        assert file.size == (64, 64)


def test_what_is_written_is_recorded_with_its_digests_before(run: Medvqa, tmp_path: Path) -> None:
    described = asked(run, MR, QUESTION, "--heatmap", "attention", "--out", tmp_path / "out")
    told = [event for event in events(tmp_path / "trail.sqlite") if event.subject == described["answer_id"]]
    assert [event.action for event in told] == ["ask", "answer", "explain", "export"]
    assert told[-1].entity["files"] == {
        path.suffix: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "out").iterdir()
    }


def test_nothing_is_written_that_cannot_be_recorded(run: Medvqa, tmp_path: Path) -> None:
    asked(run, MR, QUESTION)
    with sqlite3.connect(tmp_path / "trail.sqlite") as connection:
        connection.execute(
            "CREATE TRIGGER no BEFORE INSERT ON event WHEN NEW.action = 'export' "
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    connection.close()
    ended = run(MR, QUESTION, "--heatmap", "attention", "--out", tmp_path / "out")
    assert_refused(ended, 7, "withheld because it could not be recorded")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_trail_tells_the_whole_story(
    run: Medvqa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(run, MR, QUESTION)
    monkeypatch.setenv("MEDVQA_ROLE", "radiologist")
    asked(run, MR, QUESTION, "--window", "file")
    asking = ["load_model", "ask", "answer"]
    found = [event.action for event in events(tmp_path / "trail.sqlite")]
    assert found == ["configure", "open_study", *asking, "change_role", "open_study", *asking]


def test_the_trail_is_the_one_that_was_named(run: Medvqa, tmp_path: Path) -> None:
    asked(run, MR, QUESTION)
    asked(run, MR, QUESTION, "--audit", tmp_path / "other.sqlite")
    asked(run, MR, QUESTION, "--audit", f"sqlite:///{tmp_path / 'other.sqlite'}")
    answers = {
        name: [event.entity["question"] for event in events(tmp_path / name) if event.action == "answer"]
        for name in ("trail.sqlite", "other.sqlite")
    }
    assert answers == {"trail.sqlite": [QUESTION], "other.sqlite": [QUESTION] * 2}


def test_nothing_of_the_patient_leaves(run: Medvqa, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (48, 40)).astype(np.int16)
    path = write(tmp_path / "in" / "1.dcm", planted(image(pixels)))
    flat = write(tmp_path / "in" / "2.dcm", planted(image(np.zeros((48, 40), dtype=np.int16))))
    ended = [
        run(path, QUESTION, "--json", "--heatmap", "attention", "--out", tmp_path / "out"),
        run(path, QUESTION),
        run(flat, QUESTION),
        run(path, QUESTION, "--image", 7),
    ]
    assert [one.code for one in ended] == [0, 0, 4, 3]
    said = "".join(one.out + one.err for one in ended).encode()
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "in"]
    assert len(files) >= 4
    for kept in (said, str(files).encode(), *(path.read_bytes() for path in files)):
        assert CANARY.encode() not in kept
        assert b"19010203" not in kept


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["--heatmap", "magic"], 2, "'magic' is not one of attention, rollout"),
        (["--window", "stained-glass"], 2, "is not one of file, lung"),
        (["--image", "0"], 2, "--image"),
        (["--image", "two"], 2, "--image"),
        (["--image", "2"], 3, "the study has images 1 to 1, not 2"),
        (["--model", "/nowhere"], 5, "'/nowhere' is neither a folder nor a model"),
        (["--adapter", "/nowhere"], 5, "'/nowhere' is neither a folder nor a model"),
        (["--audit", "/proc/no/trail.sqlite"], 7, "trail"),
        (["--audit", "mysql://localhost/x"], 7, "mysql"),
        (["--study-uid", "9.9"], 3, "9.9"),
        (["--colour"], 2, "--colour"),
    ],
)
def test_a_wrong_option_ends_in_one_sentence(run: Medvqa, arguments: list[str], code: int, part: str) -> None:
    assert_refused(run(MR, QUESTION, *arguments), code, part)


def test_an_image_unlike_any_in_training_is_refused_unless_told_otherwise(
    run: Medvqa, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEDVQA_UNFAMILIAR")
    assert_refused(run(MR, QUESTION), 4, "set unfamiliar to warn")
    Path("medvqa.toml").write_text('unfamiliar = "warn"\n')
    assert run(MR, QUESTION).code == 0


@pytest.mark.parametrize(
    ("study", "question", "code", "part"),
    [
        ("no.dcm", QUESTION, 3, "no.dcm"),
        ("junk.dcm", QUESTION, 3, "junk.dcm"),
        (".", QUESTION, 3, "image"),
        (MR, "", 6, "the question is empty"),
        (MR, "why " * 200, 6, "shorten it to 500"),
        (MR, "<image>", 6, "special token"),
        (MR, "\udcff", 6, "not UTF-8"),
    ],
)
def test_a_bad_study_or_question_ends_in_one_sentence(
    run: Medvqa, tmp_path: Path, study: object, question: str, code: int, part: str
) -> None:
    (tmp_path / "junk.dcm").write_bytes(b"no image at all" * 99)
    assert_refused(run(study, question), code, part)


def test_a_bad_setting_ends_in_one_sentence(run: Medvqa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDVQA_DEVICE", "abacus")
    assert_refused(run(MR, QUESTION), 8, "MEDVQA_DEVICE")
    monkeypatch.setenv("MEDVQA_DEVICE", "cuda:99")
    assert_refused(run(MR, QUESTION), 5, "choose cpu")


def test_out_that_cannot_be_written_ends_in_one_sentence(run: Medvqa, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert_refused(run(MR, QUESTION, "--out", tmp_path / "file"), 2, "cannot be written to")


def assert_refused(ended: Ended, code: int, part: str) -> None:
    assert ended.code == code, ended.err
    assert ended.out == ""
    assert part in ended.err
    assert "Traceback" not in ended.err
    if code != 2:  # typer draws usage errors as a box
        (line,) = ended.err.strip().splitlines()
        assert line.startswith("medvqa: error: ")
        assert len(line) < 400
