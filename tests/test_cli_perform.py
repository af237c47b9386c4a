"""`medvqa perform`: JSON for scripts, lines for a person, files that are recorded first."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run_medvqa
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont
from tiny_models import noise

import audit
from medvqa.errors import TaskError
from medvqa.simulated_study import write_simulated_study
from medvqa.tasks.drawing import draw
from medvqa.tasks.results import Box, Boxes, Caption, Mask, Masks, Statement


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


Perform = Callable[..., Ended]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_simulated_study(tmp_path / "study", seed=7)
    return tmp_path / "study"


@pytest.fixture
def perform(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Perform:
    """Run the command in this process, as the console script does."""
    monkeypatch.setenv("MEDVQA_AUDIT_URL", str(tmp_path / "trail.sqlite"))
    monkeypatch.setenv("MEDVQA_KEY_FOLDER", str(tmp_path / "keys"))
    monkeypatch.setenv("MEDVQA_UNFAMILIAR", "warn")
    monkeypatch.setenv("COLUMNS", "200")

    def medvqa_perform(*arguments: object) -> Ended:
        code, said = run_medvqa("perform", *arguments), capsys.readouterr()
        return Ended(code, said.out, said.err)

    return medvqa_perform


def performed(perform: Perform, *arguments: object) -> dict[str, Any]:
    ended = perform(*arguments, "--json")
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def events(tmp_path: Path) -> list[audit.Event]:
    with audit.Log(f"sqlite:///{tmp_path / 'trail.sqlite'}", create=False) as log:
        assert log.verify().intact
        return list(log.read())


@pytest.mark.slow
def test_every_task_of_the_default_model_prints_json(perform: Perform, study: Path) -> None:
    caption = performed(perform, "caption", study, "--image", 2)
    assert caption["content"]["statement"]["text"].startswith("This is an MRI of the brain")
    assert caption["answers"] == [caption["result_id"]]
    reply = performed(perform, "vqa", study, "Where is the nodule?", "--image", 2)
    assert reply["content"]["statement"]["text"] == "lower right quadrant"
    report = performed(perform, "report", study, "--image", 2)
    assert len(report["content"]["sections"]) == len(report["answers"]) == 5
    chosen = performed(
        perform, "classify", study, "Which organ is shown?", "--options", "brain, chest,breast", "--image", 2
    )
    assert chosen["content"]["chosen"] == "brain"
    assert list(chosen["content"]["options"]) == ["brain", "chest", "breast"]
    compared = performed(perform, "compare", study, "a nodule", "--prior", study, "--image", 2)
    assert compared["content"]["label"] == "unchanged"
    assert compared["prior"] == compared["image"]
    assert "not for diagnostic use" in compared["notice"]


def test_a_person_reads_what_came_and_where_it_is_recorded(perform: Perform, study: Path) -> None:
    ended = perform("compare", study, "a nodule", "--prior", study, "--image", 2)
    assert ended.code == 0
    for part in (
        "Is there a nodule?",
        "unchanged",
        "uncalibrated",
        "medvqa audit show",
        "not for diagnostic use",
    ):
        assert part in ended.out
    ended = perform("report", study, "--image", 2)
    assert all(heading in ended.out for heading in ("Examination", "Findings", "Impression"))


def test_a_task_that_the_model_cannot_do_is_one_sentence(perform: Perform, study: Path) -> None:
    ended = perform("segment", study, "a nodule")
    assert ended.code == TaskError.exit_code == 13
    assert ended.out == ""
    assert "models of these types can: florence2" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["juggle", "{study}"], 2), (["classify", "{study}"], 13), (["vqa", "{study}"], 13)],
)
def test_a_command_that_lacks_something(
    perform: Perform, study: Path, arguments: list[str], code: int
) -> None:
    assert perform(*(argument.format(study=study) for argument in arguments)).code == code


def test_text_is_written_with_its_boxes_once_that_is_recorded(perform: Perform, tmp_path: Path) -> None:
    picture = PillowImage.new("L", (400, 300), 40)
    drawing = ImageDraw.Draw(picture)
    drawing.ellipse((120, 80, 280, 240), fill=120)
    drawing.text((10, 10), "RECHTS", fill=255, font=ImageFont.load_default(30))
    picture.save(tmp_path / "burned.png")
    found = performed(perform, "ocr", tmp_path / "burned.png", "--out", tmp_path / "out")
    (region,) = found["content"]["regions"]
    assert (region["text"], region["kind"], region["side"]) == ("RECHTS", "side marker", "right")
    stem = tmp_path / "out" / found["result_id"]
    assert json.loads(stem.with_suffix(".json").read_text()) == found
    drawn = np.asarray(PillowImage.open(stem.with_suffix(".png")))
    assert drawn.shape == (300, 400, 3)
    assert (drawn[int(region["top"])] == (255, 176, 0)).all(-1).any()
    export = events(tmp_path)[-1]
    assert export.action == "export"
    assert export.subject == found["result_id"]
    assert export.entity["files"] == {
        ending: hashlib.sha256(stem.with_suffix(ending).read_bytes()).hexdigest()
        for ending in (".json", ".png")
    }
    assert not any("RECHTS" in json.dumps(event.entity, default=str) for event in events(tmp_path))


def test_a_box_is_drawn_around_its_pixels_and_a_mask_over_them() -> None:
    image = noise(60, 80)
    box = Box(label="", top=10.0, left=20.0, bottom=30.0, right=50.0)
    drawn = opened(draw(image, Boxes(rows=60, columns=80, boxes=(box,))))
    amber = (drawn == (255, 176, 0)).all(-1)
    rows, columns = np.nonzero(amber)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 29, 20, 49)
    bits = np.zeros((60, 80), dtype=bool)
    bits[5:9, 7:11] = True
    plain = opened(draw(image, Boxes(rows=60, columns=80, boxes=())))
    masked = opened(draw(image, Masks(rows=60, columns=80, masks=(Mask.of(bits, label="a"),))))
    assert ((masked != plain).any(-1) == bits).all()


def test_words_have_no_place_to_draw() -> None:
    statement = Statement(
        question="?",
        text="a",
        answer_id="1",
        verdict="grounded",
        abstains=False,
        confidence=0.5,
        confidence_calibrated=False,
    )
    assert draw(noise(), Caption(statement=statement)) is None


def opened(content: bytes | None) -> np.ndarray:
    assert content is not None
    return np.asarray(PillowImage.open(io.BytesIO(content)))
