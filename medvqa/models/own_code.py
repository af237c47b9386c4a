"""Checkpoints that bring code of their own, such as Youtu-VL's: run only where a person asked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, AutoProcessor
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from medvqa.errors import ModelError
from medvqa.models.checkpoints import (
    UNLOADABLE,
    declared_modalities,
    find_checkpoint,
    first_line,
    read_weights,
)
from medvqa.models.decoding import decoding_parameters
from medvqa.models.devices import parse_device, require_one
from medvqa.models.identifying import identify
from medvqa.models.plain import PlainModel
from medvqa.models.precision import dtype_of

if TYPE_CHECKING:
    from pathlib import Path

    from medvqa.types import Precision

_CLASSES = ("AutoModelForImageTextToText", "AutoModelForCausalLM", "AutoModel")


def load_with_own_code(
    name_or_path: str | Path,
    *,
    device: str | None = None,
    precision: Precision | None = None,
    max_new_tokens: int = 32,
) -> PlainModel:
    """Load a checkpoint and run the code in it, with all the rights of this process.

    Nothing is known of how such a model lays out an image, so it answers without heatmaps but by occlusion.

    Args:
        name_or_path: A folder whose code you trust, or a hub name at a commit: `org/name@` and 40 digits.
        device: As for `medvqa.models.loading.load_model`, but one device.
        precision: `fp32` or `bf16`; by default as for `load_model`.
        max_new_tokens: Longest answer.

    Raises:
        ModelError: If the revision is not pinned, or the checkpoint cannot be found or loaded.
    """
    folder = find_checkpoint(name_or_path, with_code=True)
    place = require_one(parse_device(device))
    if precision not in (None, "fp32", "bf16"):
        raise ModelError("code of a checkpoint's own runs in fp32 or bf16; choose one of them")
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
        model = read_weights(
            _model_class(config, folder),
            folder,
            config=config,
            dtype=dtype_of(precision, place),
            trust_remote_code=True,
        )
        processor: Any = AutoProcessor.from_pretrained(folder, trust_remote_code=True, backend="pil")
    except UNLOADABLE as error:
        raise ModelError(
            f"{folder.name!r} cannot be loaded with its own code: {first_line(error)}"
        ) from error
    if getattr(processor, "image_processor", None) is None or not processor.chat_template:
        raise ModelError(f"{folder.name!r} has no image processor or no chat template, so it cannot be asked")
    model.to(place)
    identity = identify(
        str(name_or_path), folder, model, place=place, parameters=decoding_parameters(max_new_tokens)
    )
    return PlainModel(model, processor, identity, modalities=declared_modalities(folder))


def _model_class(config: Any, folder: Path) -> Any:
    """The class that the settings name for answering about images."""
    mapped = getattr(config, "auto_map", None) or {}
    named = next((mapped[kind] for kind in _CLASSES if kind in mapped), None)
    if named is None:
        raise ValueError(f"config.json names none of {', '.join(_CLASSES)} in auto_map")
    return get_class_from_dynamic_module(named, folder)
