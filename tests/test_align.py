"""A composed model's bridge is aligned alone, and then tuned whole beside low-rank matrices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from command_line import run_medvqa
from peft import PeftModel
from PIL import Image as PillowImage
from tiny_models import noise, write_llava
from tiny_parts import write_llm, write_vision
from torch.nn.functional import cross_entropy, normalize

from medvqa.cases import read_cases, read_image
from medvqa.errors import ModelError, TrainingError
from medvqa.models.compose.alignment import contrastive_loss
from medvqa.models.compose.building import compose
from medvqa.models.compose.configuration import Bridge
from medvqa.models.loading import load_model, read_checkpoint
from medvqa.tuning.adaptation import Tuned, tune_adapter
from medvqa.tuning.alignment import Aligned, AlignmentPlan, align_bridge
from medvqa.tuning.plan import Plan

LOOKS = ("dark", "bright", "rows", "columns")
BRIDGES: tuple[Bridge, ...] = ("mlp", "qformer", "gated_cross_attention")
every_bridge = pytest.mark.parametrize(
    "bridge", [one if one == "mlp" else pytest.param(one, marks=pytest.mark.slow) for one in BRIDGES]
)


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Any:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark, bright, or with bright rows or columns: 32 cases to learn and 16 to measure by."""
    folder = tmp_path_factory.mktemp("data")
    lines: list[str] = []
    for number in range(48):
        pixels = np.random.default_rng(number).integers(0, 60, (56, 56)).astype(np.uint8)
        bright = (slice(0, 0), slice(None), slice(None, None, 2), (slice(None), slice(None, None, 2)))
        pixels[bright[number % 4]] += np.uint8(180)
        PillowImage.fromarray(pixels).save(folder / f"{number}.png")
        row = {"image": f"{number}.png", "question": "How does it look?", "answer": LOOKS[number % 4]}
        lines.append(json.dumps(row | {"split": "train" if number < 32 else "val"}) + "\n")
    (folder / "cases.jsonl").write_text("".join(lines))
    return folder / "cases.jsonl"


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[Bridge, Path]:
    root = tmp_path_factory.mktemp("bases")
    llm, vision = write_llm(root / "llm", "youtu"), write_vision(root / "vision", "vit")
    for bridge in BRIDGES:
        compose(llm, vision, root / bridge, bridge=bridge)
    return {bridge: root / bridge for bridge in BRIDGES}


def align(data: Path, base: Path, out: Path, **settings: Any) -> Aligned:
    return align_bridge(
        data, str(base), out, plan=AlignmentPlan(**{"batch_size": 8, **settings}), progress=lambda *_: None
    )


def tune(data: Path, base: Path, out: Path, **settings: Any) -> Tuned:
    plan = Plan(**{"patience": 0, "targets": "o_proj", **settings})
    return tune_adapter(data, str(base), out, plan=plan, progress=lambda *_: None)


def test_the_loss_is_clip_s_where_every_pair_is_different() -> None:
    images, texts = torch.randn(5, 8), torch.randn(5, 8)
    similar = normalize(images, dim=1) @ normalize(texts, dim=1).T / 0.07
    right = torch.arange(5)
    wanted = (cross_entropy(similar, right) + cross_entropy(similar.T, right)) / 2
    found = contrastive_loss(images, texts, torch.eye(5, dtype=torch.bool))
    torch.testing.assert_close(found, wanted)


def test_pairs_that_say_the_same_are_not_told_apart() -> None:
    vectors = normalize(torch.tensor([[1.0, 0], [1, 0], [0, 1]]), dim=1)
    same = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    fitted = contrastive_loss(vectors, vectors, same)
    assert fitted.item() == pytest.approx(2 / 3 * np.log(2), abs=1e-4)  # which of two alike, nobody can tell
    assert contrastive_loss(vectors, vectors, torch.eye(3, dtype=torch.bool)) == pytest.approx(
        fitted.item(), abs=1e-4
    )
    assert contrastive_loss(vectors, vectors.flip(0), same) > fitted + 1


@every_bridge
def test_only_the_bridge_learns_and_images_find_their_sentences(
    bridge: Bridge, data: Path, bases: dict[Bridge, Path], tmp_path: Path
) -> None:
    aligned = align(data, bases[bridge], tmp_path / "out", epochs=15, learning_rate=3e-3)
    assert aligned.after.chance == pytest.approx(0.25)
    assert aligned.after.loss < aligned.before.loss - 0.3
    assert aligned.after.retrieval >= 0.8
    before, after = (load_model(folder).module.state_dict() for folder in (bases[bridge], tmp_path / "out"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("bridge.") for name in changed)
    written = json.loads((tmp_path / "out" / "alignment.json").read_text())
    assert written["plan"]["temperature"] == 0.07
    assert written["after"]["loss"] == aligned.after.loss


def test_weights_stay_in_the_precision_they_came_in(data: Path, tmp_path: Path) -> None:
    llm = write_llm(tmp_path / "llm", "llama", dtype=torch.bfloat16)
    compose(llm, write_vision(tmp_path / "vision", "vit"), tmp_path / "model")
    align(data, tmp_path / "model", tmp_path / "out", epochs=1)
    _, model = read_checkpoint(tmp_path / "out", dtype="auto")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


@pytest.mark.slow
@every_bridge
def test_tuning_trains_the_bridge_reloads_and_merges(
    bridge: Bridge, data: Path, bases: dict[Bridge, Path], tmp_path: Path
) -> None:
    base, out = bases[bridge], tmp_path / "adapter"
    tuned = tune(data, base, out, epochs=10, learning_rate=1e-2)
    assert tuned.state.best.loss < tuned.state.validations[0].loss - 1
    assert tuned.state.best.exact_match >= 0.5  # a guess has a quarter
    processor, bare = read_checkpoint(base, dtype=torch.float32)
    apart: Any = PeftModel.from_pretrained(bare, out).eval()
    merged = load_model(base, adapter=out, max_new_tokens=8)
    image = noise(56, 56)
    inputs = merged._prompting.process([image], ["How does it look?"])
    # In double precision, for logits of a tiny model are large and sums in float32 differ by as much.
    inputs["pixel_values"] = inputs["pixel_values"].double()
    with torch.no_grad():
        found = load_model(base, adapter=out).module.double()(**inputs).logits
        wanted, without = apart.double()(**inputs).logits, bare_of(base).double()(**inputs).logits
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    assert (found - without).abs().max() > 0.1
    assert processor.image_tokens == merged.module.config.image_tokens
    gates = [one for name, one in merged.module.named_parameters() if name.endswith("gate")]
    assert all(gate.abs() > 0 for gate in gates)
    cases = read_cases(data, split="val")
    right = [merged.generate(read_image(case), case.question).text == case.answer for case in cases]
    assert np.mean(right) == pytest.approx(tuned.state.best.exact_match, abs=0.01)


def bare_of(base: Path) -> Any:
    return read_checkpoint(base, dtype=torch.float32)[1].eval()


@pytest.mark.slow
def test_computing_gated_layers_again_on_the_way_back_changes_nothing(
    data: Path, bases: dict[Bridge, Path], tmp_path: Path
) -> None:
    base = bases["gated_cross_attention"]
    losses = [
        tune(data, base, tmp_path / name, epochs=2, learning_rate=1e-2, checkpointing=again).state.losses
        for name, again in (("kept", False), ("again", True))
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_what_cannot_be_aligned_is_refused(data: Path, bases: dict[Bridge, Path], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="medvqa compose"):
        align(data, write_llava(tmp_path / "llava"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ModelError, match="holds something"):
        align(data, bases["mlp"], tmp_path / "llava")
    with pytest.raises(TrainingError, match="learning-rate"):
        align(data, bases["mlp"], tmp_path / "out", learning_rate=1e30)


@pytest.mark.slow
def test_both_commands_say_what_they_did_and_how_to_go_on(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    llm, vision = write_llm(tmp_path / "llm", "qwen3"), write_vision(tmp_path / "vision", "clip")
    given = ("--llm", llm, "--vision", vision, "--bridge", "gated-cross-attention")
    assert run_medvqa("compose", *given, "--out", tmp_path / "seeing") == 0
    told = capsys.readouterr().out
    assert f"medvqa align {tmp_path / 'seeing'}" in told
    assert "not for diagnostic use" in told
    options = ("--cases", data, "--out", tmp_path / "aligned", "--epochs", 2)
    assert run_medvqa("align", tmp_path / "seeing", *options) == 0
    told = capsys.readouterr().out
    assert "0.250 by chance" in told
    assert f"--base {tmp_path / 'aligned'}" in told
    assert run_medvqa("align", tmp_path / "seeing", *options) == ModelError.exit_code
    assert "holds something already" in capsys.readouterr().err
