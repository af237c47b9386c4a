"""Every kind of model through one door, by `medvqa.load_model` and as the settings name it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from command_line import run_medvqa
from dicom_builder import image as dicom_image
from dicom_builder import write
from PIL import Image as PillowImage
from tiny_contrastive import write_contrastive
from tiny_models import noise, write_llava

import medvqa
from audit import Filter, Log
from medvqa.assistant import Assistant
from medvqa.errors import ModelError
from medvqa.models.contrastive import ContrastiveModel
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.plain import PlainModel
from medvqa.opening import NamedModel, named_model, open_model
from medvqa.settings import load_settings
from medvqa.study import read_study

if TYPE_CHECKING:
    from pathlib import Path

QUESTION = "Is there a tumor?"


@pytest.fixture(scope="module")
def llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    write_contrastive(folder, "clip")
    return folder


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(-100, 300, (48, 40)).astype(np.int16)
    return write(tmp_path / "one.dcm", dicom_image(pixels))


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    lines: list[str] = []
    for number, answer in enumerate(("yes", "no")):
        PillowImage.fromarray((noise(60, 60, seed=number).pixels * 255).astype(np.uint8)).save(
            tmp_path / f"{number}.png"
        )
        lines.append(json.dumps({"image": f"{number}.png", "question": QUESTION, "answer": answer}))
    (tmp_path / "shots.jsonl").write_text("\n".join(lines))
    return tmp_path / "shots.jsonl"


def test_what_comes_back_is_what_the_checkpoint_is(llava_folder: Path, clip_folder: Path) -> None:
    assert isinstance(medvqa.load_model(llava_folder), HuggingFaceModel)
    clip = medvqa.load_model(str(clip_folder))
    assert isinstance(clip, ContrastiveModel)
    assert len(clip.choose(noise(), ("a chest", "a brain"))) == 2
    with pytest.raises(ModelError, match="takes no adapter"):
        medvqa.load_model(clip_folder, adapter=llava_folder)
    with pytest.raises(ModelError, match="stays in fp32"):
        medvqa.load_model(clip_folder, precision="bf16")
    with pytest.raises(ModelError, match="code of its own, and takes no adapter"):
        medvqa.load_model(llava_folder, adapter=llava_folder, own_code=True)
    with pytest.raises(ModelError, match="neither a folder nor a model"):
        medvqa.load_model("nobody/nothing")


def test_the_settings_name_a_model_and_what_it_may_do(llava_folder: Path) -> None:
    named = named_model(load_settings(model=str(llava_folder)))
    assert (named.name, named.own_code, named.remote) == (str(llava_folder), False, False)
    assert isinstance(open_model(named), HuggingFaceModel)
    with pytest.raises(ModelError, match="names none of"):  # it has no code of its own
        open_model(replace(named, own_code=True))
    assert isinstance(open_model(NamedModel(own_code=True)), HuggingFaceModel)  # the shipped one needs none


def test_a_model_that_answers_nothing_says_so(clip_folder: Path, study_file: Path, tmp_path: Path) -> None:
    with Log(f"sqlite:///{tmp_path / 'audit.sqlite'}") as log:
        assistant = Assistant(
            open_model(NamedModel(name=str(clip_folder))), audit=log, key_folder=tmp_path / "keys"
        )
        with pytest.raises(ModelError, match=r"answers no questions.*perform classify"):
            assistant.ask(read_study(study_file), QUESTION)
        result = medvqa.perform(
            read_study(study_file), "classify", assistant=assistant, options=("a chest", "a brain")
        )
        content: Any = result.content
        assert sum(content.probabilities) == pytest.approx(1)


@pytest.mark.slow
def test_examples_are_shown_and_recorded(
    llava_folder: Path,
    study_file: Path,
    cases: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MEDVQA_AUDIT_URL", str(tmp_path / "audit.sqlite"))
    monkeypatch.setenv("MEDVQA_KEY_FOLDER", str(tmp_path / "keys"))

    def run(*arguments: object) -> int:
        return run_medvqa("ask", study_file, QUESTION, "--model", llava_folder, *arguments)

    assert run("--shots", cases, "--heatmap", "occlusion", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["model"]["parameters"]["shots"]) == 2
    assert told["heatmap"]["grid"] == [6, 6]
    with Log(f"sqlite:///{tmp_path / 'audit.sqlite'}") as log:
        (answered,) = log.read(Filter(action="answer"))
        assert answered.entity["model"]["parameters"]["shots"] == told["model"]["parameters"]["shots"]
    assert run("--shots", cases, "--heatmap", "attention") == 5
    assert "explain it by occlusion" in capsys.readouterr().err
    assert run("--shots", tmp_path / "none.jsonl") == 9


def test_only_a_known_family_takes_examples(
    clip_folder: Path,
    study_file: Path,
    cases: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MEDVQA_AUDIT_URL", str(tmp_path / "audit.sqlite"))
    monkeypatch.setenv("MEDVQA_KEY_FOLDER", str(tmp_path / "keys"))
    assert run_medvqa("ask", study_file, QUESTION, "--model", clip_folder, "--shots", cases) == 5
    assert "known family on this machine takes examples" in " ".join(capsys.readouterr().err.split())


def test_a_plain_model_answers_with_checks(llava_folder: Path, study_file: Path, tmp_path: Path) -> None:
    model = medvqa.load_model(llava_folder)
    assert isinstance(model, HuggingFaceModel)
    plain = model.with_shots([medvqa.Shot(image=noise(), question=QUESTION, answer="yes")])
    assert isinstance(plain, PlainModel)
    with Log(f"sqlite:///{tmp_path / 'audit.sqlite'}") as log:
        answer = Assistant(plain, audit=log, key_folder=tmp_path / "keys").ask(
            read_study(study_file), QUESTION
        )
    assert not answer.checks.confidence_calibrated
    assert answer.checks.image_reliance != 0
