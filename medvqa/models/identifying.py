"""What exactly answers: names, digests, settings and versions of a loaded checkpoint."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from medvqa.models.checkpoints import tokenizer_sha256, weights_sha256
from medvqa.prompts import PROMPT_VERSION
from medvqa.types import ModelIdentity

_LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "numpy", "pillow", "monai", "pydicom", "captum")


def identify(
    name: str,
    folder: Path,
    model: Any,
    *,
    place: torch.device,
    parameters: Mapping[str, Any],
    dtype: str | None = None,
) -> ModelIdentity:
    """What a loaded checkpoint is, without adapter and calibration.

    Args:
        name: As a person gave it.
        folder: Where it was found.
        model: Of transformers.
        place: Where inputs go.
        parameters: How answers are made.
        dtype: Of the weights, where these do not say it themselves.
    """
    return ModelIdentity(
        name=name,
        model_type=model.config.model_type,
        weights_sha256=weights_sha256(folder),
        tokenizer_sha256=tokenizer_sha256(folder),
        adapter=None,
        adapter_sha256=None,
        prompt_version=PROMPT_VERSION,
        parameters={
            **parameters,
            "dtype": dtype or str(model.dtype).removeprefix("torch."),
            "device": place.type,
            "threads": torch.get_num_threads(),
            "attention": model.config._attn_implementation,
            "hardware": _hardware(place),
        },
        libraries=_library_versions(),
    )


def _library_versions() -> dict[str, str]:
    """Of each library that shapes the output."""
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


def _hardware(place: torch.device) -> str:
    """What decides how floats are summed: the GPU, or the processor's instruction set as PyTorch uses it."""
    if place.type == "cuda":
        return torch.cuda.get_device_name(place)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
