"""Loading: any image-text-to-text checkpoint of transformers, with a peft adapter on top."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel, get_peft_model_state_dict
from peft.utils.save_and_load import load_peft_weights
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForImageTextToText

from medvqa.errors import ModelError
from medvqa.models.calibration import calibration_sha256, read_calibration
from medvqa.models.checkpoints import (
    DEFAULT_MODEL,
    adapter_sha256,
    declared_modalities,
    find_checkpoint,
    tokenizer_sha256,
    weights_sha256,
)
from medvqa.models.families import family_of
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.precision import dtype_of, round_to_int8
from medvqa.models.processors import read_processor
from medvqa.prompts import PROMPT_VERSION
from medvqa.types import ModelIdentity, Precision

_LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "numpy", "pillow", "monai", "pydicom", "captum")
_UNLOADABLE = (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError, SafetensorError)


def load_model(
    name_or_path: str | Path = DEFAULT_MODEL,
    *,
    adapter: str | Path | None = None,
    device: str | None = None,
    precision: Precision | None = None,
    max_new_tokens: int = 32,
    calibrated: bool = True,
) -> HuggingFaceModel:
    """Load a checkpoint through transformers' Auto classes, and a peft adapter on top of it.

    Args:
        name_or_path: `default`, a folder, or a name on the Hugging Face hub.
        adapter: A folder or hub name of a peft adapter made for that model.
        device: Such as `cpu` or `cuda:0`; by default the GPU where there is one.
        precision: Of the weights; by default float32 on a CPU, and what the checkpoint has elsewhere. `int8`
            answers faster where a decoder is large, and knows no heatmaps by gradients.
        max_new_tokens: Longest answer.
        calibrated: Read the `calibration.json` beside the adapter, or beside the model where there is none.

    Raises:
        ModelError: If the checkpoint or adapter cannot be found or loaded, they do not fit, or there is no
            such device or precision.
    """
    folder = find_checkpoint(name_or_path)
    place = _usable_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    processor, model = read_checkpoint(folder, dtype=dtype_of(precision, place))
    adapter_folder = find_checkpoint(adapter) if adapter is not None else None
    if adapter_folder is not None:
        model = _with_adapter(model, adapter_folder)
    if precision == "int8":
        round_to_int8(model)
    beside = folder if adapter_folder is None else adapter_folder
    weights = weights_sha256(folder)
    adapted = None if adapter_folder is None else adapter_sha256(adapter_folder)
    calibration = (
        read_calibration(beside, weights_sha256=weights, adapter_sha256=adapted) if calibrated else None
    )
    identity = ModelIdentity(
        name=str(name_or_path),
        model_type=model.config.model_type,
        tokenizer_sha256=tokenizer_sha256(folder),
        adapter=None if adapter is None else str(adapter),
        calibration_sha256=calibration_sha256(beside) if calibrated else None,
        weights_sha256=weights,
        adapter_sha256=adapted,
        prompt_version=PROMPT_VERSION,
        parameters={
            "decoding": "greedy",
            "max_new_tokens": max_new_tokens,
            "dtype": "int8" if precision == "int8" else str(model.dtype).removeprefix("torch."),
            "device": place.type,
            "threads": torch.get_num_threads(),
            "attention": model.config._attn_implementation,
            "hardware": _hardware(place),
        },
        libraries={"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
    )
    return HuggingFaceModel(
        model.to(place),
        processor,
        identity,
        modalities=declared_modalities(folder),
        calibration=calibration,
    )


def read_checkpoint(folder: Path, *, dtype: Any, **options: Any) -> tuple[Any, Any]:
    """Processor and model; only safetensors files are read, since only they are in the model's digest.

    Args:
        folder: Of the checkpoint.
        dtype: Of the weights, or `auto`.
        options: Further ones of `from_pretrained`, such as `quantization_config`.

    Raises:
        ModelError: If it cannot be loaded, or lacks weights, processor or chat template.
    """
    try:
        # Before the weights, which may be many gigabytes.
        model_type = AutoConfig.from_pretrained(folder).model_type
        family_of(model_type)
        processor = read_processor(folder, model_type)
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **options
        )
        model, report = loaded
    except _UNLOADABLE as error:
        raise ModelError(
            f"{folder.name!r} cannot be loaded as an image-text-to-text model: {_first_line(error)}"
        ) from error
    if missing := report["missing_keys"]:
        raise ModelError(
            f"weights in {folder.name!r} lack {len(missing)} of the model's tensors, such as {min(missing)}; "
            "they would be random, so fetch the checkpoint again"
        )
    template = processor.chat_template or family_of(model_type).template
    if getattr(processor, "image_processor", None) is None or not template:
        raise ModelError(
            f"{folder.name!r} has no image processor or no chat template; add preprocessor_config.json and "
            "chat_template.jinja"
        )
    return processor, model


def _usable_device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # builds without CUDA assert
        raise ModelError(f"device {name!r} cannot be used: {_first_line(error)}; choose cpu") from error


def _hardware(place: torch.device) -> str:
    """What decides how floats are summed: the GPU, or the processor's instruction set as PyTorch uses it."""
    if place.type == "cuda":
        return torch.cuda.get_device_name(place)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def _with_adapter(model: Any, folder: Path) -> Any:
    """Merge the adapter into the weights, so that it costs nothing at each question."""
    try:
        adapted = cast("Any", PeftModel.from_pretrained(model, folder))
        # peft only warns of matrices without a place, and of places without a matrix.
        stored = load_peft_weights(str(folder), device="cpu").keys()
        strays = sorted(key for key in stored ^ get_peft_model_state_dict(adapted).keys() if "lora_" in key)
        if strays:
            raise ValueError(f"{len(strays)} matrices do not match, such as {strays[0]}")
        return adapted.merge_and_unload()
    except _UNLOADABLE as error:
        raise ModelError(
            f"adapter {folder.name!r} does not fit this model: {_first_line(error)}; "
            "pass the base model that it was tuned from with --model"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
