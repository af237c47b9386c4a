"""`medvqa calibrate` asks, fits and writes what a model then goes by."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import run_medvqa
from PIL import Image as PillowImage
from test_training import REAL
from tiny_models import noise, write_llava

from medvqa.errors import ModelError, TrainingError
from medvqa.evaluation.questions import ask_all, held_out_subjects, read_lines
from medvqa.models import checkpoints
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.loading import load_model
from medvqa.simulation import insert_nodule, phantom, place_nodule
from medvqa.types import NOT_FOR_DIAGNOSIS

WEIGHTS = Path(checkpoints.__file__).parent / "weights"
QUESTIONS = ["Is there a nodule?", "Where is the nodule?", "How old is the patient?"]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions about 24 phantoms; every fifth answer is wrong on purpose."""
    folder, rng = tmp_path_factory.mktemp("questions"), np.random.default_rng(4)
    rows: list[str] = []
    for number in range(24):
        pixels = phantom("brain", rng, shape=(96, 96))
        nodule = place_nodule(pixels, rng)
        if number % 2:
            pixels = insert_nodule(pixels, nodule)
        PillowImage.fromarray((pixels * 255).astype(np.uint8)).save(folder / f"{number}.png")
        answer = ("yes" if number % 2 else "no") if number % 5 else "perhaps"
        for question, truth in (
            (QUESTIONS[0], answer),
            (QUESTIONS[2], "cannot be determined from this image"),
        ):
            row = {
                "image": f"{number}.png",
                "question": question,
                "answer": truth,
                "group": f"p{number // 2 if number < 4 else number}",
            }
            rows.append(json.dumps(row))
    path = folder / "asked.jsonl"
    path.write_text("\n".join(rows) + "\n\n")
    return path


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_anybodys_model_is_calibrated_on_anybodys_questions(
    lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    shutil.copytree(WEIGHTS, model, ignore=shutil.ignore_patterns("calibration*", "familiarity*"))
    (model / "calibration.json").write_text('{"weights_sha256": "of another model"}')
    with pytest.raises(ModelError, match="medvqa calibrate"):
        load_model(model)
    assert run_medvqa("calibrate", lines, "--model", model, "--alpha", "0.3") == 0
    assert NOT_FOR_DIAGNOSIS in capsys.readouterr().out
    loaded = load_model(model)
    assert loaded.calibration is not None
    assert loaded.calibration.confidence is not None
    assert loaded.calibration.familiarity is not None
    assert "asked.jsonl" in loaded.calibration.measured_on
    assert loaded.identity.weights_sha256 == loaded.calibration.weights_sha256
    assert loaded.identity.calibration_sha256 is not None
    assert (model / "calibration.png").read_bytes().startswith(b"\x89PNG")
    figures = json.loads((model / "calibration-figures.json").read_text())
    assert figures["fitted"]["groups"] + figures["measured"]["groups"] == 22
    assert figures["measured"]["accuracy"]["value"] == pytest.approx(0.9, abs=0.1)
    # What others measured stays, once it belongs to these weights.
    kept = json.loads((model / "calibration.json").read_text()) | {"attention_layers": [1]}
    (model / "calibration.json").write_text(json.dumps(kept))
    out = tmp_path / "out"
    assert run_medvqa("calibrate", lines, "--model", model, "--alpha", "0.3", "--out", out) == 0
    again = json.loads((out / "calibration.json").read_text())
    assert again == kept


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("", "no case"),
        ("{", "line 1"),
        ("[]", "line 1"),
        ('{"image": "a.png", "question": "Why?"}', "line 1"),
        ('{"image": "none.png", "question": "Why?", "answer": "so"}', "none.png"),
    ],
)
def test_bad_questions_are_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    part: str,
) -> None:
    path = tmp_path / "asked.jsonl"
    path.write_text(content)
    assert run_medvqa("calibrate", path, "--out", tmp_path / "out") == TrainingError.exit_code
    assert part in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_questions_about_one_image_are_one_batch_with_the_answers_of_each_alone(
    default_model: HuggingFaceModel, tmp_path: Path
) -> None:
    tiny = load_model(write_llava(tmp_path))
    for model in (default_model, tiny):
        together = model.generate_many([(noise(), question) for question in QUESTIONS])
        alone = [model.generate(noise(), question) for question in QUESTIONS]
        assert [one.token_ids for one in together] == [one.token_ids for one in alone]
        assert [one.text for one in together] == [one.text for one in alone]
        assert [one.prompt_token_ids for one in together] == [one.prompt_token_ids for one in alone]
        for one, other in zip(together, alone, strict=True):
            logarithms = [[token.log_probability for token in tokens.tokens] for tokens in (one, other)]
            assert logarithms[0] == pytest.approx(logarithms[1], abs=1e-5)
    assert default_model.generate_many([]) == []


def test_questions_of_a_file_keep_their_groups(lines: Path) -> None:
    subjects = read_lines(lines, seed=0)
    assert len(subjects) == 24
    assert len({subject.group for subject in subjects}) == 22
    assert all(len(subject.asked) == 2 for subject in subjects)
    assert [subject.group for subject in read_lines(lines, seed=0)] == [one.group for one in subjects]


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real images are not at {REAL}; see datasets/README.md")
def test_held_out_pictures_are_asked_in_both_wordings(default_model: HuggingFaceModel) -> None:
    subjects = held_out_subjects(REAL, seed=1, limit=4)
    assert all(subject.group for subject in subjects)
    outcomes = ask_all(default_model, subjects, lambda *_: None)
    assert {outcome.wording for outcome in outcomes} == {"usual", "unseen"}
    usual = [outcome.right for outcome in outcomes if outcome.wording == "usual"]
    assert np.mean(usual) > 0.8
