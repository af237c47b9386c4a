"""Loading: any image-text-to-text checkpoint of transformers, with a peft adapter on top."""

from __future__ import annotations

import atexit
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, cast

import torch
from peft import PeftModel, get_peft_model_state_dict
from peft.utils.save_and_load import load_peft_weights
from transformers import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoModelForImageTextToText,
)

from medvqa.errors import ModelError
from medvqa.models.calibration import calibration_sha256, read_calibration
from medvqa.models.checkpoints import (
    DEFAULT_MODEL,
    UNLOADABLE,
    adapter_sha256,
    declared_modalities,
    find_checkpoint,
    first_line,
    read_weights,
)
from medvqa.models.decoding import decoding_parameters
from medvqa.models.devices import Placement, device_map, parse_device
from medvqa.models.families import family_of
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.identifying import identify
from medvqa.models.precision import attention_kernel, dtype_of, quantisation, round_to_int8
from medvqa.models.processors import read_processor
from medvqa.types import Precision


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
        device: As for `medvqa.models.devices.parse_device`; by default the GPU where there is one.
        precision: Of the weights; by default float32 on a CPU, and what the checkpoint has elsewhere. `int8`
            answers faster where a decoder is large, and knows no heatmaps by gradients.
        max_new_tokens: Longest answer.
        calibrated: Read the `calibration.json` beside the adapter, or beside the model where there is none.

    Raises:
        ModelError: If the checkpoint or adapter cannot be found or loaded, they do not fit, or there is no
            such device or precision.
    """
    folder = find_checkpoint(name_or_path)
    placement = parse_device(device)
    place = placement.first
    dtype, options = dtype_of(precision, place), dict[str, Any]()
    if precision in ("8bit", "4bit"):
        options["quantization_config"] = quantisation(precision, dtype)
        options["device_map"] = {"": place}
    processor, model = read_checkpoint(folder, dtype=dtype, placement=placement, **options)
    adapter_folder = find_checkpoint(adapter) if adapter is not None else None
    if adapter_folder is not None:
        model = _with_adapter(model, adapter_folder)
    if precision == "int8":
        round_to_int8(model)
    beside = folder if adapter_folder is None else adapter_folder
    identity = identify(
        str(name_or_path),
        folder,
        model,
        place=place,
        parameters=decoding_parameters(max_new_tokens),
        dtype=precision if precision in ("int8", "8bit", "4bit") else None,
    )
    identity = replace(
        identity,
        adapter=None if adapter is None else str(adapter),
        adapter_sha256=None if adapter_folder is None else adapter_sha256(adapter_folder),
        calibration_sha256=calibration_sha256(beside) if calibrated else None,
    )
    calibration = None
    if calibrated:
        calibration = read_calibration(
            beside, weights_sha256=identity.weights_sha256, adapter_sha256=identity.adapter_sha256
        )
    return HuggingFaceModel(
        model if hasattr(model, "hf_device_map") else model.to(place),
        processor,
        identity,
        modalities=declared_modalities(folder),
        calibration=calibration,
    )


def read_checkpoint(
    folder: Path, *, dtype: Any, placement: Placement | None = None, **options: Any
) -> tuple[Any, Any]:
    """Processor and model.

    Args:
        folder: Of the checkpoint.
        dtype: Of the weights, or `auto`.
        placement: What goes where; None to leave all on the CPU.
        options: Further ones of `from_pretrained`, such as `quantization_config`.

    Raises:
        ModelError: If it cannot be loaded, or lacks weights, processor or chat template.
    """
    try:
        # Before the weights, which may be many gigabytes.
        config = AutoConfig.from_pretrained(folder)
        model_type = config.model_type
        family_of(model_type)
        if placement is not None:
            options = {**_placed(placement, config, folder, dtype), **options}
        processor = read_processor(folder, model_type)
        model = read_weights(AutoModelForImageTextToText, folder, dtype=dtype, **options)
    except UNLOADABLE as error:
        raise ModelError(
            f"{folder.name!r} cannot be loaded as an image-text-to-text model: {first_line(error)}"
        ) from error
    template = processor.chat_template or family_of(model_type).template
    if getattr(processor, "image_processor", None) is None or not template:
        raise ModelError(
            f"{folder.name!r} has no image processor or no chat template; add preprocessor_config.json and "
            "chat_template.jinja"
        )
    return processor, model


def _placed(placement: Placement, config: Any, folder: Path, dtype: Any) -> dict[str, Any]:
    """Options of `from_pretrained`: what goes where, and with which attention."""
    options: dict[str, Any] = {}
    if placement.parts is not None:
        options = {"device_map": device_map(placement, folder), "offload_folder": _offload_folder(placement)}
    mapping: Any = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    # What the checkpoint has is not known before it is loaded; published ones are in half precision.
    numbers = torch.bfloat16 if dtype == "auto" else dtype
    if kernel := attention_kernel(mapping.get(type(config), None), placement.first, numbers):
        options["attn_implementation"] = kernel
    return options


def _offload_folder(placement: Placement) -> str | None:
    """For what stays on disk: files of this process alone, removed at its end."""
    if not isinstance(placement.parts, tuple) or "disk" not in placement.parts:
        return None
    folder = mkdtemp(prefix="medvqa-offload-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


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
    except UNLOADABLE as error:
        raise ModelError(
            f"adapter {folder.name!r} does not fit this model: {first_line(error)}; "
            "pass the base model that it was tuned from with --model"
        ) from error
