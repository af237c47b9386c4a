"""Where checkpoints come from and where their parts go: cache, revisions, devices, code of their own."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tiny_models import noise, write_llava

from medvqa.errors import ModelError, SettingsError
from medvqa.heatmaps import HEATMAPS
from medvqa.models import checkpoints
from medvqa.models.checkpoints import find_checkpoint
from medvqa.models.devices import device_map, parse_device
from medvqa.models.loading import load_model
from medvqa.models.precision import attention_kernel, quantisation
from medvqa.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

QUESTION = "Is there a nodule?"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture
def cache(tmp_path: Path, llava_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub with one model; asking the network is an error."""
    repository = tmp_path / "hub" / "models--clinic--tiny"
    shutil.copytree(llava_folder, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    asked: list[Any] = []
    real = checkpoints.snapshot_download

    def download(name: str, **options: Any) -> str:
        if not options.get("local_files_only"):
            asked.append(name)
            raise ConnectionError("no network here")
        return real(name, cache_dir=tmp_path / "hub", **options)

    monkeypatch.setattr(checkpoints, "snapshot_download", download)
    return repository


def test_what_was_downloaded_once_is_found_without_the_network(cache: Path) -> None:
    assert find_checkpoint("clinic/tiny") == cache / "snapshots" / COMMIT
    assert find_checkpoint(f"clinic/tiny@{COMMIT}") == cache / "snapshots" / COMMIT
    assert load_model("clinic/tiny").generate(noise(), QUESTION).tokens


def test_another_revision_or_a_broken_download_is_asked_of_the_network(cache: Path) -> None:
    with pytest.raises(ModelError, match="hub was not reached"):
        find_checkpoint(f"clinic/tiny@{'f' * 40}")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (cache / "snapshots" / COMMIT / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="hub was not reached"):
        find_checkpoint("clinic/tiny")


def test_code_from_the_hub_is_run_only_at_a_commit(cache: Path) -> None:
    for name in ("clinic/tiny", "clinic/tiny@main", "clinic/tiny@v1.0"):
        with pytest.raises(ModelError, match=r"only run at a pinned revision.*40 digits"):
            find_checkpoint(name, with_code=True)
    assert find_checkpoint(f"clinic/tiny@{COMMIT}", with_code=True) == cache / "snapshots" / COMMIT


def test_vision_and_language_apart_answer_and_explain_as_together(llava_folder: Path) -> None:
    """Language on disk, so that Accelerate's hooks really move it; two devices of one machine without GPU."""
    together, image = load_model(llava_folder, device="cpu"), noise(90, 70)
    said = together.generate(image, QUESTION)
    for device in ("vision=cpu,language=cpu", "vision=cpu,language=disk"):
        apart = load_model(llava_folder, device=device)
        assert apart.generate(image, QUESTION) == said
        assert apart.log_likelihood(image, QUESTION, said.token_ids) == pytest.approx(
            together.log_likelihood(image, QUESTION, said.token_ids), abs=1e-5
        )
        maps = [HEATMAPS["attention"](model, image, QUESTION, said).values for model in (together, apart)]
        assert abs(maps[0] - maps[1]).max() < 1e-4
    language = {name for name, module in apart.module.named_modules() if hasattr(module, "_hf_hook")}
    assert any("language_model" in name for name in language)


def test_each_parameter_has_one_place(llava_folder: Path) -> None:
    placed = device_map(parse_device("vision=cpu,language=disk"), llava_folder)
    assert isinstance(placed, dict)
    names = [name for name, _ in load_model(llava_folder).module.named_parameters()]
    for name in names:
        (place,) = {placed[part] for part in placed if name == part or name.startswith(f"{part}.")}
        assert place == ("disk" if "language_model" in name or "lm_head" in name else "cpu")


def test_places_that_cannot_be_are_refused(llava_folder: Path) -> None:
    with pytest.raises(ModelError, match="cannot both stay on disk"):
        parse_device("vision=disk,language=disk")
    with pytest.raises(ModelError, match="'abacus' cannot be used"):
        load_model(llava_folder, device="vision=cpu,language=abacus")
    assert load_settings(device="vision=cuda:0,language=cuda:1").device == "vision=cuda:0,language=cuda:1"
    for bad in ("vision=cuda:0", "language=cpu,vision=cpu", "vision=gpu,language=cpu"):
        with pytest.raises(SettingsError, match="auto, or vision=cuda:0,language=cuda:1"):
            load_settings(device=bad)


def test_flash_attention_is_taken_where_card_numbers_and_model_allow_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Able:
        _supports_flash_attn = True

    cuda = torch.device("cuda")
    assert attention_kernel(Able, cuda, torch.bfloat16) is None  # no kernel is installed here
    monkeypatch.setattr("medvqa.models.precision.is_flash_attn_2_available", lambda: True)
    assert attention_kernel(Able, cuda, torch.bfloat16) == "flash_attention_2"
    assert attention_kernel(Able, cuda, torch.float32) is None
    assert attention_kernel(Able, torch.device("cpu"), torch.bfloat16) is None
    assert attention_kernel(object, cuda, torch.bfloat16) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="of a machine without GPU")
@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_bits_without_a_gpu_are_refused(bits: Any, llava_folder: Path) -> None:
    with pytest.raises(ModelError, match=rf"{bits} weights need an NVIDIA GPU.*medvqa\[quantised\]"):
        load_model(llava_folder, precision=bits)


def test_bits_are_asked_of_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("medvqa.models.precision.find_spec", lambda _: object())
    assert quantisation("8bit", torch.bfloat16).load_in_8bit
    four = quantisation("4bit", torch.bfloat16)
    assert (four.bnb_4bit_quant_type, four.bnb_4bit_compute_dtype) == ("nf4", torch.bfloat16)
