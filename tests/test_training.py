"""Training runs from pictures to a model that loads, and packs questions without mixing them."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import run_medvqa
from PIL import Image as PillowImage
from tiny_models import noise
from transformers import DeepseekVLForConditionalGeneration, LlavaProcessor

from medvqa.errors import TrainingError
from medvqa.imaging import blank
from medvqa.models import checkpoints
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.loading import load_model
from medvqa.prompts import chat_messages
from medvqa.simulation import insert_nodule, phantom, place_nodule
from medvqa.training import default_model as default_model_module
from medvqa.training import schedule
from medvqa.training.architecture import IMAGE_TOKENS, SIDE, build_model, build_processor
from medvqa.training.default_model import Plan, train_default_model
from medvqa.training.language_stage import pack, packed_mask
from medvqa.training.pictures import Picture, Sampler, load_pictures, make_phantoms, to_image, with_finding
from medvqa.training.questions import MODALITY, ask_everything, every_text
from medvqa.training.vision_stage import LABELS

ROOT = Path(checkpoints.__file__).parents[2]
WEIGHTS = Path(checkpoints.__file__).parent / "weights"
REAL = Path(os.environ.get("MEDVQA_TRAINING_DATA", ROOT.parent / "shared" / "data"))
LISTED = {
    "brain_mri": ("brain", ("glioma", "meningioma", "pituitary", "no_tumor")),
    "chest_xray": ("chest", ("pneumonia", "no_finding")),
    "breast_us": ("breast", ("benign", "malignant", "normal")),
}


def write_data(folder: Path) -> Path:
    """A generated picture of each label to train on, and one of each set to measure."""
    rng = np.random.default_rng(0)
    rows: list[list[str]] = []
    for name, (organ, labels) in LISTED.items():
        (folder / name).mkdir(parents=True)
        for number, label in enumerate([*labels, labels[0]]):
            pixels = phantom(organ, rng, shape=(90, 110))
            PillowImage.fromarray((pixels * 255).astype(np.uint8)).save(folder / name / f"{number}.jpg")
            split = "train" if number < len(labels) else "val"
            rows.append([f"{name}/{number}.jpg", name, label, split, f"group-{number}"])
    write_list(folder, rows)
    return folder


def write_list(folder: Path, rows: list[list[str]], *, header: str = "path,set,label,split,group") -> None:
    with (folder / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def untrained() -> tuple[DeepseekVLForConditionalGeneration, LlavaProcessor]:
    processor = build_processor(every_text(np.random.default_rng(0), count=300))
    return build_model(processor, seed=0).eval(), processor


def train(data: Path, run: Path) -> int:
    return run_medvqa("train", data, "--out", run, "--quick")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_train_makes_a_model_that_loads_and_measures_it(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(data, run) == 0
    assert f"--model {run / 'model'}" in " ".join(capsys.readouterr().out.split())
    model = load_model(run / "model")
    assert model.modalities == {"CR", "DX", "MR", "US"}
    assert model.generate(noise(), "Is there a tumor?") == model.generate(noise(), "Is there a tumor?")
    figures = json.loads((run / "model" / "figures.json").read_text())
    assert set(figures) == {"known", "reworded", "chinese"}
    rows = [figures["known"]["rows"]["model"], figures["reworded"], figures["chinese"]]
    assert [row["groups"] for row in rows] == [3, 3, 3]
    assert all(0 <= row["exact_match"] <= 1 for row in rows)
    assert {"modality", "simulated_side", "unanswerable", "brain_finding"} <= set(rows[0]["by_kind"])
    assert set(figures["known"]["rows"]) == {"model", "blank_image", "other_image", "majority"}


@pytest.mark.slow
def test_training_goes_on_after_the_last_finished_stage(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(see_steps=1, answer_steps=1, tune_steps=1, see_batch=2, answer_batch=2, phantoms=3)

    def stages() -> dict[str, bytes]:
        train_default_model(data, tmp_path, plan=plan, progress=lambda *_: None)
        files = [*tmp_path.glob("*.safetensors"), tmp_path / "model" / "model.safetensors"]
        return {path.name: path.read_bytes() for path in files}

    first = stages()
    assert len(first) == 4
    (tmp_path / "3-tune.safetensors").unlink()
    monkeypatch.setattr(default_model_module, "learn_to_see", refuse_to_run)
    second = stages()
    assert second["2-answer.safetensors"] == first["2-answer.safetensors"]
    monkeypatch.setattr(default_model_module, "learn_to_answer", refuse_to_run)
    assert stages() == second


@pytest.mark.slow
def test_a_stage_that_was_stopped_goes_on_where_it_was(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "_KEPT_EVERY", 2)
    plan = Plan(see_steps=5, answer_steps=1, tune_steps=1, see_batch=2, answer_batch=2, phantoms=3)

    def stop(step: int, *_: object) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_default_model(data, tmp_path, plan=plan, progress=stop)
    assert (tmp_path / "1-see.state").is_file()
    steps: list[int] = []
    train_default_model(data, tmp_path, plan=plan, progress=lambda step, *_: steps.append(step))
    assert steps == [3, 4, 5, 1, 1]
    assert not list(tmp_path.glob("*.state"))


def refuse_to_run(*_: object, **__: object) -> None:
    raise AssertionError("a finished stage was trained again")


def test_a_listed_picture_is_loaded_with_its_label(data: Path) -> None:
    pictures = load_pictures(data, split="train", side=64)
    assert len(pictures) == 9
    assert {picture.content.finding for picture in pictures} == set(LABELS)
    assert all(picture.pixels.shape == (64, 64) for picture in pictures)
    assert all(0 <= picture.pixels.min() < picture.pixels.max() <= 1 for picture in pictures)


GOOD = ["brain_mri/0.jpg", "brain_mri", "glioma", "train", "g"]


@pytest.mark.parametrize(
    ("rows", "header", "part"),
    [
        ([], None, "no row whose split is 'train'"),
        ([[*GOOD[:3], "val", "g"]], None, "no row whose split is 'train'"),
        ([[GOOD[0], "knee_mri", *GOOD[2:]]], None, "set 'knee_mri' is not one of brain_mri"),
        (
            [[*GOOD[:2], "gliomma", *GOOD[3:]]],
            None,
            "label 'gliomma' of brain_mri/0.jpg is not one of glioma",
        ),
        ([[*GOOD[:2], "pneumonia", *GOOD[3:]]], None, "is not one of glioma"),
        ([["brain_mri/none.jpg", *GOOD[1:]]], None, "none.jpg cannot be read"),
        ([["images.csv", *GOOD[1:]]], None, "images.csv cannot be read"),
        ([GOOD], "path,set,label,part,group", "every row needs path, set, label, split"),
        ([GOOD[:2]], None, "every row needs path, set, label, split"),
    ],
)
def test_a_bad_list_is_refused(
    data: Path, tmp_path: Path, rows: list[list[str]], header: str | None, part: str
) -> None:
    (tmp_path / "brain_mri").symlink_to(data / "brain_mri")
    write_list(tmp_path, rows, **({"header": header} if header else {}))
    with pytest.raises(TrainingError) as caught:
        load_pictures(tmp_path, split="train", side=32)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"datasets/README\.md"):
        load_pictures(tmp_path, split="train", side=32)
    (tmp_path / "images.csv").write_bytes(b"\xff\xfe\x00" * 50)
    with pytest.raises(TrainingError, match=r"images\.csv"):
        load_pictures(tmp_path, split="train", side=32)
    assert train(tmp_path, tmp_path / "run") == TrainingError.exit_code


def test_a_sampler_repeats_by_its_seed_and_adds_findings(data: Path) -> None:
    pictures = load_pictures(data, split="train", side=64)
    first, second = (Sampler(pictures, side=64, seed=3).draw(24) for _ in range(2))
    assert [one.name for one in first] == [one.name for one in second]
    assert all((one.pixels == other.pixels).all() for one, other in zip(first, second, strict=True))
    assert 0 < sum(one.content.simulated is not None for one in first) < 24
    assert all(one.pixels.min() >= 0 and one.pixels.max() <= 1 for one in first)


@pytest.mark.parametrize("enlarged", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_a_finding_drawn_on_an_enlarged_picture_lies_where_it_says(seed: int, enlarged: int) -> None:
    (grey,) = make_phantoms(1, np.random.default_rng(0), side=SIDE)
    grey = replace(grey, pixels=np.full((SIDE, SIDE), 0.25, dtype=np.float32))
    found = with_finding(grey, np.random.default_rng(seed), enlarged=enlarged)
    finding = found.content.simulated
    assert found.pixels.shape == (SIDE, SIDE)
    assert finding is not None
    rows, columns = np.nonzero(np.abs(found.pixels - grey.pixels) > 1e-3)
    assert np.hypot(rows + 0.5 - finding.row, columns + 0.5 - finding.column).max() <= finding.size / 2 + 2
    assert len(rows) >= 3


def pictured(seed: int, *, count: int = 3) -> list[Picture]:
    rng = np.random.default_rng(seed)
    plain = make_phantoms(count, rng, side=SIDE)
    return [with_finding(picture, rng) if index % 2 else picture for index, picture in enumerate(plain)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_packed_question_gets_the_logits_of_its_separate_prompt(
    untrained: tuple[DeepseekVLForConditionalGeneration, LlavaProcessor], seed: int
) -> None:
    model, processor = untrained
    rng = np.random.default_rng(seed)
    pictures = pictured(seed)
    asked = [ask_everything(picture.content, rng) for picture in pictures]
    batch = pack(pictures, asked, processor)
    with torch.inference_mode():
        packed = model(
            pixel_values=batch["pixel_values"],
            input_ids=batch["input_ids"],
            position_ids=batch["position_ids"],
            attention_mask=packed_mask(batch["segment"]),
            use_cache=False,
        ).logits
        for row, questions in enumerate(asked):
            for number in range(1, len(questions) + 1):
                mine = (batch["segment"][row] == 0) | (batch["segment"][row] == number)
                input_ids = batch["input_ids"][row][mine][None]
                alone = model(
                    pixel_values=batch["pixel_values"][row : row + 1],
                    input_ids=input_ids,
                    attention_mask=torch.ones_like(input_ids),
                    use_cache=False,
                ).logits[0]
                question = (batch["segment"][row] == number).nonzero()[:, 0]
                assert (packed[row, question] - alone[-len(question) :]).abs().max() < 1e-4
    assert packed.std() > 0.01


def test_a_packed_question_has_the_tokens_that_the_chat_template_gives(
    untrained: tuple[DeepseekVLForConditionalGeneration, LlavaProcessor],
) -> None:
    _, processor = untrained
    rng = np.random.default_rng(5)
    (picture,) = pictured(5, count=1)
    questions = ask_everything(picture.content, rng)
    batch = pack([picture], [questions], processor)
    for number, one in enumerate(questions, start=1):
        mine = (batch["segment"][0] == 0) | (batch["segment"][0] == number)
        prompt = processor.apply_chat_template(chat_messages(one.question), add_generation_prompt=True)
        separate = processor(
            text=f"{prompt}{one.answer}</s>",
            images=PillowImage.new("RGB", (SIDE, SIDE)),
            return_tensors="pt",
            add_special_tokens=False,
        )
        assert batch["input_ids"][0][mine].tolist() == separate["input_ids"][0].tolist()
        assert batch["position_ids"][0][mine].tolist() == list(range(int(mine.sum())))
        labels = batch["labels"][0][batch["segment"][0] == number]
        answer = processor.tokenizer.decode(labels[labels >= 0])
        assert answer == f"{one.answer}</s>"


def test_padding_is_looked_at_by_no_question() -> None:
    mask = packed_mask(torch.tensor([[0, 0, 1, 1, 2, -1]]))[0, 0].int().tolist()
    assert mask[:5] == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
    ]


def test_the_network_has_the_tokens_that_its_processor_announces(
    untrained: tuple[DeepseekVLForConditionalGeneration, LlavaProcessor],
) -> None:
    model, processor = untrained
    features = model.model.vision_model(torch.zeros(1, 3, SIDE, SIDE)).last_hidden_state
    assert features.shape[1] == IMAGE_TOKENS
    inputs = processor(text="<image>", images=PillowImage.new("RGB", (50, 70)), return_tensors="pt")
    assert (inputs["input_ids"] == processor.image_token_id).sum() == IMAGE_TOKENS


@pytest.mark.skipif(not (REAL / "images.csv").is_file(), reason=f"no training data in {REAL}")
def test_the_real_list_has_pictures_of_each_set_in_both_splits_and_no_group_in_both() -> None:
    with (REAL / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    groups = {split: {row["group"] for row in rows if row["split"] == split} for split in ("train", "val")}
    assert {row["set"] for row in rows} == set(LISTED)
    assert {(row["set"], row["split"]) for row in rows} == {
        (name, split) for name in LISTED for split in ("train", "val")
    }
    assert not groups["train"] & groups["val"]
    assert all(row["label"] in LISTED[row["set"]][1] for row in rows)


@pytest.mark.slow
@pytest.mark.skipif(
    not (WEIGHTS / "figures.json").is_file(), reason="no figures.json beside the weights: they are untrained"
)
def test_the_trained_model_reads_phantoms_and_does_not_guess(default_model: HuggingFaceModel) -> None:
    rng = np.random.default_rng(77)
    pictures = [
        replace(
            phantom,
            pixels=insert_nodule(phantom.pixels, nodule),
            content=replace(phantom.content, simulated=nodule),
        )
        for phantom in make_phantoms(24, rng, side=SIDE)
        for nodule in [place_nodule(phantom.pixels, rng)]
    ]
    right: list[bool] = []
    guessed: list[bool] = []
    for picture in pictures:
        content = picture.content
        asked = {
            "Which organ is shown?": content.organ,
            "Which imaging modality is this?": MODALITY[content.organ],
            "Where is the nodule?": f"{content.simulated.quadrant(content.shape)} quadrant",
        }
        for question, answer in asked.items():
            right.append(default_model.generate(to_image(picture), question).text == answer)
            guessed.append(default_model.generate(blank(to_image(picture)), question).text == answer)
    assert np.mean(right) >= max(0.9, np.mean(guessed) + 0.35)
