"""Tuning learns what it is shown, goes on where it was stopped, and says what is wrong in one sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from command_line import run_medvqa
from PIL import Image as PillowImage
from safetensors.torch import load_file
from tiny_families import TINY, build_tiny, each_of
from tiny_models import IDENTITY
from transformers.models.smolvlm import processing_smolvlm

from medvqa.cases import Case, read_cases, read_image
from medvqa.errors import MedvqaError, ModelError, TrainingError
from medvqa.models.checkpoints import DEFAULT_MODEL, adapter_sha256, find_checkpoint, weights_sha256
from medvqa.models.families import family_of
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.loading import load_model
from medvqa.models.processors import read_processor
from medvqa.tuning import lora
from medvqa.tuning.adaptation import Tuned, tune_adapter
from medvqa.tuning.division import divide_cases
from medvqa.tuning.examples import IGNORED, Examples, answer_losses
from medvqa.tuning.order import Order, shares
from medvqa.tuning.plan import Plan

ROOT = Path(__file__).parents[1]
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Any:
    """Accelerate keeps the precision of its first use."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve cases to learn and twelve of the same sort: which half is bright."""
    return write_sides(tmp_path_factory.mktemp("data"))


def write_sides(folder: Path) -> Path:
    rows: list[dict[str, Any]] = []
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 60, (60, 60)).astype(np.uint8)
        side, split = ("left", "right")[number % 2], "train" if number < 12 else "val"
        pixels[:, :30] += np.uint8(150 * (side == "left"))
        pixels[:, 30:] += np.uint8(150 * (side == "right"))
        PillowImage.fromarray(pixels).save(folder / f"{number}.png")
        rows.append({"image": f"{number}.png", "question": "Which side?", "answer": side, "split": split})
    return write_lines(folder / "cases.jsonl", rows)


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(data: Path, **changed: Any) -> list[dict[str, Any]]:
    """The lines of `data`, naming their images in full, so that they may stand elsewhere."""
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    return [row | {"image": str(data.parent / row["image"])} | changed for row in rows]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Folders of tiny checkpoints by family, written when they are wanted."""
    root = tmp_path_factory.mktemp("bases")

    def base(family: str) -> str:
        folder = root / family
        if not folder.is_dir():
            model, processor = build_tiny(family)
            model.save_pretrained(folder)
            processor.save_pretrained(folder)
        return str(folder)

    return base


def tune(data: Path, base: str, out: Path, *, stop_at: int | None = None, **settings: Any) -> Tuned:
    def progress(text: str, step: int, _steps: int) -> None:
        if step == stop_at and text.startswith("loss"):
            os.kill(os.getpid(), signal.SIGTERM)

    plan = Plan(**{"epochs": 3, "batch_size": 4, "learning_rate": 1e-2, "patience": 0} | settings)
    return tune_adapter(data, base, out, plan=plan, progress=progress)


# What is read


def test_the_files_own_splits_are_kept_and_its_test_cases_left_alone(data: Path, tmp_path: Path) -> None:
    rows = rows_of(data)
    rows[0]["split"] = "test"
    division = divide_cases(write_lines(tmp_path / "cases.jsonl", rows), seed=0)
    assert (len(division.train), len(division.val)) == (11, 12)
    assert all(case.image.name != "0.png" for case in (*division.train, *division.val))


def test_without_splits_a_tenth_of_the_groups_is_held_out(data: Path, tmp_path: Path) -> None:
    rows = rows_of(data)
    for number, row in enumerate(rows):
        row["group"] = f"patient {number % 10}"
        del row["split"]
    path = write_lines(tmp_path / "cases.jsonl", rows)
    division = divide_cases(path, seed=1)
    groups = [{case.group for case in part} for part in (division.train, division.val)]
    assert (len(groups[0]), len(groups[1])) == (9, 1)
    assert not groups[0] & groups[1]
    assert len(division.train) + len(division.val) == 24
    assert divide_cases(path, seed=1) == division
    assert len({divide_cases(path, seed=seed).val for seed in range(9)}) > 1


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"group": "one"}, "groups in .* have cases in train and in val"),
        ({"group": "one", "split": "train"}, "one group only"),
        ({"split": "val"}, "no case whose split is train"),
    ],
)
def test_data_that_cannot_be_divided_are_refused(
    data: Path, tmp_path: Path, changed: dict[str, Any], part: str
) -> None:
    with pytest.raises(TrainingError, match=part):
        divide_cases(write_lines(tmp_path / "cases.jsonl", rows_of(data, **changed)), seed=0)


def test_every_epoch_reads_each_case_once_whatever_the_number_of_processes() -> None:
    order = Order(cases=24, batch_size=2, accumulate=3, processes=4, seed=5)
    assert order.steps_per_epoch == 1
    for step in (1, 2):
        read = [order.batches(step, process) for process in range(4)]
        places = [place for batches in read for _, batch in batches for place in batch]
        assert sorted(places) == list(range(24))
    assert order.batches(1, 0) != order.batches(2, 0)
    few = Order(cases=5, batch_size=4, accumulate=1, processes=1, seed=0)
    places = [place for step in (1, 2) for _, batch in few.batches(step, 0) for place in batch]
    assert len(places) == 8
    assert set(places) == set(range(5))


def test_validation_shares_are_of_equal_number_and_hold_every_case() -> None:
    places = shares(7, batch_size=2, processes=3)
    assert places.shape == (2, 3, 2)
    assert places.reshape(-1)[:7].tolist() == list(range(7))


# What is learned from it


def examples_of(family: str) -> tuple[Examples, Any, Any]:
    model, processor = build_tiny(family)
    return Examples(model.config, processor, name=family, ends=(2,)), model, processor


@pytest.mark.parametrize("family", each_of(TINY))
def test_the_loss_is_that_of_the_answer_as_the_model_will_be_asked(family: str, tmp_path: Path) -> None:
    """Three images of different shape and words of different length, in one padded batch."""
    examples, model, processor = examples_of(family)
    said = [("Is there a nodule?", "yes"), ("Where in this image is it?", "upper left"), ("Why?", "no")]
    cases: list[Case] = []
    for number, ((question, answer), shape) in enumerate(
        zip(said, ((90, 70), (60, 130), (64, 64)), strict=True)
    ):
        pixels = np.random.default_rng(number).integers(0, 255, shape).astype(np.uint8)
        PillowImage.fromarray(pixels).save(tmp_path / f"{number}.png")
        row = {"image": f"{number}.png", "question": question, "answer": answer}
        cases += read_cases(write_lines(tmp_path / "one.jsonl", [row]))
    batch = examples.batch(cases)
    labels = batch.pop("labels")
    model.train()
    with torch.no_grad():
        logits = model(**batch, use_cache=False, logits_to_keep=labels.shape[1] + 1).logits
    losses, _ = answer_losses(logits, labels)
    asked = HuggingFaceModel(model, processor, replace(IDENTITY, parameters={"max_new_tokens": 8}))
    for case, loss in zip(cases, losses.tolist(), strict=True):
        token_ids = (*asked.tokens_of(case.answer), 2)
        expected = -asked.log_likelihood(read_image(case), case.question, token_ids) / len(token_ids)
        assert loss == pytest.approx(expected, abs=1e-4)


def test_an_answer_is_right_only_if_all_its_tokens_are() -> None:
    logits = torch.full((3, 4, 5), -9.0)
    for row, tokens in enumerate(((1, 2, 3), (1, 2, 3), (1, 4, 4))):
        for place, token in enumerate(tokens):
            logits[row, place, token] = 9.0
    labels = torch.tensor([[1, 2, 3], [1, 2, 4], [1, IGNORED, IGNORED]])
    losses, right = answer_losses(logits, labels)
    assert right.tolist() == [True, False, True]
    assert losses[0] == pytest.approx(0, abs=1e-4)
    assert losses[1] == pytest.approx(18 / 3, abs=1e-4)


def test_the_default_model_is_taught_to_end_its_answer_as_its_template_does() -> None:
    folder = find_checkpoint(DEFAULT_MODEL)
    _, model = lora.load_base(folder, Plan(), torch.device("cpu"))
    processor = read_processor(folder, model.config.model_type)
    examples = Examples(model.config, processor, name="default", ends=(2,))
    words = processor.tokenizer("yes", add_special_tokens=False)["input_ids"]
    assert examples.answer_ids("yes") == [*words, processor.tokenizer.eos_token_id]


def test_augmentation_changes_brightness_and_leaves_sides(data: Path) -> None:
    examples, _, _ = examples_of("llava")
    cases = read_cases(data)[:6]
    plain = examples.batch(cases)["pixel_values"]
    draws = [np.random.default_rng(seed) for seed in range(6)]
    varied = examples.batch(cases, brightness=draws)["pixel_values"]
    assert (plain - varied).abs().amax((1, 2, 3)).min() > 0.02
    half = plain.shape[-1] // 2
    for case, values in zip(cases, varied, strict=True):
        brighter = "left" if values[..., :half].mean() > values[..., half:].mean() else "right"
        assert brighter == case.answer


# The whole way


def assert_learned(tuned: Tuned, data: Path, base: str, out: Path) -> int:
    """The loss fell, the base is as it was, and the adapter answers as the card says; how often right."""
    assert tuned.finished
    assert tuned.state.best.loss < 0.6 * tuned.state.validations[0].loss
    model = load_model(base, adapter=out)
    cases = read_cases(data, split="val")
    right = sum(model.generate(read_image(case), case.question).text == case.answer for case in cases)
    # The loss was that of matrices beside the weights; what is loaded has them merged.
    losses: list[float] = []
    for case in cases:
        token_ids = (*model.tokens_of(case.answer), 2)
        likelihood = model.log_likelihood(read_image(case), case.question, token_ids)
        losses.append(-likelihood / len(token_ids))
    assert np.mean(losses) == pytest.approx(tuned.state.best.loss, abs=1e-5)
    assert tuned.state.best.right == {"all": (right, 12)}
    assert matrices_of(out) / tuned.parameters < lora.MOST_TRAINABLE
    whole = family_of(json.loads((Path(base) / "config.json").read_text())["model_type"]).trained_whole
    assert whole or tuned.trainable == matrices_of(out)
    return right


def matrices_of(adapter: Path) -> int:
    """Number of parameters in an adapter's low-rank matrices."""
    tensors = load_file(adapter / WEIGHTS)
    return sum(tensor.numel() for name, tensor in tensors.items() if "lora_" in name)


@pytest.mark.parametrize("family", ["llava", pytest.param("qwen2_vl", marks=pytest.mark.slow)])
def test_an_adapter_learns_and_answers_about_other_images(
    family: str, data: Path, bases: Any, tmp_path: Path
) -> None:
    base, out = bases(family), tmp_path / "adapter"
    before = weights_sha256(Path(base))
    tuned = tune(data, base, out, epochs=20, batch_size=6, validate_every=20)
    assert tuned.state.validations[0].exact_match == 0
    assert assert_learned(tuned, data, base, out) >= 9
    assert weights_sha256(Path(base)) == before
    assert {path.name for path in (out / "run").iterdir()} == {
        *("config.json", "environment.json", "curves.csv", "curves.png")
    }
    card = (out / "README.md").read_text()
    assert adapter_sha256(out) in card
    assert before in card
    assert "not for diagnostic use" in card
    assert "Licence: not stated" in card
    assert f"| all | 12 | 0.000 | {tuned.state.best.exact_match:.3f} |" in card
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == base
    lines = (out / "run" / "curves.csv").read_text().splitlines()
    assert len(lines) == 2 + tuned.state.step
    assert lines[-1].startswith(f"{tuned.state.step},")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("family", sorted(TINY))
def test_every_family_learns_by_the_same_command(family: str, data: Path, bases: Any, tmp_path: Path) -> None:
    base, out = bases(family), tmp_path / "adapter"
    with patch.object(processing_smolvlm, "num2words", object()):  # which it needs for videos alone
        tuned = tune(data, base, out, epochs=20, batch_size=6, validate_every=20, learning_rate=3e-2)
        assert_learned(tuned, data, base, out)


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(data: Path, bases: Any, tmp_path: Path) -> None:
    base, settings = bases("llava"), {"augment": True, "validate_every": 4, "save_every": 2}
    tune(data, base, tmp_path / "whole", **settings)
    stopped = tune(data, base, tmp_path / "parts", stop_at=2, **settings)
    assert (stopped.finished, stopped.state.step) == (False, 3)
    assert not (tmp_path / "parts" / WEIGHTS).exists()
    again = tune(data, base, tmp_path / "parts", stop_at=6, **settings)
    assert (again.finished, again.state.step) == (False, 7)
    assert tune(data, base, tmp_path / "parts", **settings).finished
    for name in (WEIGHTS, "run/curves.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


@pytest.mark.slow
def test_a_killed_process_goes_on_as_if_it_had_not_been(data: Path, bases: Any, tmp_path: Path) -> None:
    base, out = bases("llava"), tmp_path / "killed"
    arguments = ["tune", str(data), "--base", base, "--batch-size", "4", "--learning-rate", "1e-2"]
    arguments += ["--patience", "0", "--save-every", "1", "--epochs", "40"]
    with subprocess.Popen([sys.executable, "-m", "medvqa", *arguments, "--out", out], cwd=ROOT) as process:
        deadline = time.monotonic() + 120
        while not (out / "run" / "state.pt").is_file() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (out / WEIGHTS).exists()
    assert run_medvqa(*arguments, "--out", out) == 0
    assert run_medvqa(*arguments, "--out", tmp_path / "whole") == 0
    assert (out / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


def test_accumulated_batches_make_the_same_step_as_a_large_one(
    data: Path, bases: Any, tmp_path: Path
) -> None:
    """But for dropout, which is drawn for each batch."""
    large = tune(data, bases("llava"), tmp_path / "large", batch_size=8, epochs=1)
    small = tune(data, bases("llava"), tmp_path / "small", batch_size=2, accumulate=4, epochs=1)
    assert small.state.losses[0] == pytest.approx(large.state.losses[0], rel=1e-4)
    assert small.steps == large.steps == 2


def test_checkpointing_and_workers_change_no_weight(data: Path, bases: Any, tmp_path: Path) -> None:
    whole = tune(data, bases("qwen2_vl"), tmp_path / "whole", epochs=1)
    careful = tune(data, bases("qwen2_vl"), tmp_path / "careful", epochs=1, checkpointing=True, workers=1)
    assert careful.state.losses == pytest.approx(whole.state.losses, rel=1e-5)


@pytest.mark.slow
def test_bfloat16_learns_too(data: Path, bases: Any, tmp_path: Path) -> None:
    tuned = tune(data, bases("llava"), tmp_path, epochs=10, precision="bf16")
    assert tuned.state.best.loss < 0.7 * tuned.state.validations[0].loss
    assert all(value.dtype == torch.float32 for value in load_file(tmp_path / WEIGHTS).values())


@pytest.mark.slow
def test_a_run_without_gain_is_stopped_and_the_best_step_kept(data: Path, bases: Any, tmp_path: Path) -> None:
    tuned = tune(data, bases("llava"), tmp_path, epochs=40, patience=2, learning_rate=0.5)
    assert tuned.finished
    assert tuned.state.step < tuned.steps
    after = tuned.state.validations
    assert after.index(tuned.state.best) == len(after) - 3
    loaded = load_model(bases("llava"), adapter=tmp_path)
    cases = read_cases(data, split="val")
    right = sum(loaded.generate(read_image(case), case.question).text == case.answer for case in cases)
    assert tuned.state.best.right == {"all": (right, 12)}


@pytest.mark.slow
def test_two_processes_make_an_adapter_that_works(data: Path, bases: Any, tmp_path: Path) -> None:
    base, out = bases("llava"), tmp_path / "adapter"
    arguments = ["tune", str(data), "--base", base, "--out", str(out), "--learning-rate", "1e-2"]
    arguments += ["--epochs", "20", "--batch-size", "3", "--validate-every", "20"]
    run = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            "-m",
            "medvqa",
            *arguments,
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("parameters") == 1
    alone = tune(data, base, tmp_path / "alone", epochs=20, batch_size=6, validate_every=20, patience=3)
    lines = (out / "run" / "curves.csv").read_text().splitlines()
    assert float(lines[2].split(",")[1]) == pytest.approx(alone.state.losses[0], rel=0.02)
    assert float(lines[1].split(",")[2]) == pytest.approx(alone.state.validations[0].loss, rel=1e-4)
    model = load_model(base, adapter=out)
    cases = read_cases(data, split="val")
    assert sum(model.generate(read_image(case), case.question).text == case.answer for case in cases) >= 9


# What is refused


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"rank": 64}, r"would train \d+\.\d% .* lower --rank"),
        ({"targets": "nothing_like_it"}, "no linear layer .* named nothing_like_it"),
        ({"precision": "fp16"}, "--precision fp16 needs a GPU"),
        ({"learning_rate": 1e30}, "loss is not a number .* lower --learning-rate"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="one of these needs a machine without GPU")
def test_settings_that_cannot_be_are_refused(
    data: Path, bases: Any, tmp_path: Path, settings: dict[str, Any], part: str
) -> None:
    assert_refused(part, lambda: tune(data, bases("llava"), tmp_path / "out", **settings))


@pytest.mark.skipif(torch.cuda.is_available(), reason="of a machine without GPU")
def test_quantising_without_a_gpu_is_refused(data: Path, bases: Any, tmp_path: Path) -> None:
    part = r"4bit weights need an NVIDIA GPU .*medvqa\[quantised\]"
    assert_refused(part, lambda: tune(data, bases("llava"), tmp_path / "out", quantise="4bit"), ModelError)


def assert_refused(part: str, call: Any, kind: type[MedvqaError] = TrainingError) -> None:
    with pytest.raises(kind, match=part) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"answer": "yes " * 600}, "shorten the question"),
        ({"question": "what of </s> this?"}, "special token"),
        ({"image": "bad.png"}, "bad.png cannot be read as an image"),
    ],
)
def test_cases_that_cannot_be_read_are_refused(
    data: Path, bases: Any, tmp_path: Path, changed: dict[str, Any], part: str, workers: int
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    rows = rows_of(data)
    rows[3] |= changed
    path = write_lines(tmp_path / "cases.jsonl", rows)
    assert_refused(part, lambda: tune(path, bases("llava"), tmp_path / "out", workers=workers))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."),
    ],
)
def test_a_lack_of_memory_becomes_advice(
    data: Path, bases: Any, tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Examples, "batch", fail)
    advice = "memory ran out; .*--batch-size.*--checkpointing.*--quantise"
    assert_refused(advice, lambda: tune(data, bases("llava"), tmp_path / "out"))


def test_an_error_of_another_sort_is_not_taken_for_a_lack_of_memory(
    data: Path, bases: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(Examples, "batch", fail)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        tune(data, bases("llava"), tmp_path / "out")


def test_a_run_begun_otherwise_is_left_alone(data: Path, bases: Any, tmp_path: Path) -> None:
    tune(data, bases("llava"), tmp_path, stop_at=2)
    kept = (tmp_path / "run" / "state.pt").read_bytes()
    assert_refused("begun with another seed;", lambda: tune(data, bases("llava"), tmp_path, seed=1))
    assert_refused("another base, epochs", lambda: tune(data, bases("qwen2_vl"), tmp_path, epochs=9))
    assert (tmp_path / "run" / "state.pt").read_bytes() == kept
    (tmp_path / "run" / "state.pt").write_bytes(kept[:999])
    assert_refused("state.pt is damaged", lambda: tune(data, bases("llava"), tmp_path))


def test_a_finished_adapter_is_not_written_over(data: Path, bases: Any, tmp_path: Path) -> None:
    tune(data, bases("llava"), tmp_path / "out", epochs=1)
    assert_refused("holds an adapter already", lambda: tune(data, bases("llava"), tmp_path / "out", epochs=1))
    (tmp_path / "file").write_text("")
    assert_refused("give another --out", lambda: tune(data, bases("llava"), tmp_path / "file"))
    assert_refused(
        "neither a folder nor", lambda: tune(data, str(tmp_path / "x"), tmp_path / "y"), ModelError
    )


def test_the_command_prints_share_and_figures_and_the_adapter_answers(
    data: Path, bases: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "adapter"
    arguments = ("tune", data, "--base", bases("llava"), "--out", out, "--epochs", 1, "--licence", "mit")
    assert run_medvqa(*arguments) == 0
    printed = capsys.readouterr().out
    assert "2.64%" in printed
    assert "all: 0 of 12 right before" in printed
    assert f"--model {bases('llava')} --adapter {out}" in printed
    assert "not for diagnostic use" in printed
    assert "license: mit" in (out / "README.md").read_text()
    load_model(bases("llava"), adapter=out)
    assert run_medvqa(*arguments) == TrainingError.exit_code
    assert "medvqa: error:" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_keeps_the_state_and_says_how_to_go_on(data: Path, bases: Any, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    arguments = ["tune", str(data), "--base", bases("llava"), "--out", str(out), "--epochs", "4000"]
    arguments += ["--save-every", "1", "--batch-size", "2"]
    with subprocess.Popen(
        [sys.executable, "-m", "medvqa", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 120
        while not (out / "run" / "state.pt").is_file() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from there" in printed
    assert "Traceback" not in errors
