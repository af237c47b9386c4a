"""In which numbers a model computes, where that is chosen and not left to the device."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.ao.nn.quantized.dynamic import Linear as Int8Linear
from torch.ao.quantization import quantize_dynamic  # pyright: ignore[reportDeprecated]
from transformers import BitsAndBytesConfig
from transformers.utils.import_utils import is_flash_attn_2_available

from medvqa.errors import ModelError

if TYPE_CHECKING:
    from medvqa.types import Precision

PRECISIONS: Mapping[str, Precision] = MappingProxyType(
    {"float32": "fp32", "bfloat16": "bf16", "int8": "int8", "8bit": "8bit", "4bit": "4bit"}
)
"""By the name that stands in a model's identity."""


def dtype_of(precision: Precision | None, place: torch.device) -> Any:
    """What `from_pretrained` is told: by default float32 on a CPU, and elsewhere what the checkpoint has.

    Raises:
        ModelError: If there is no such precision, or not on that device.
    """
    if precision is None:
        return torch.float32 if place.type == "cpu" else "auto"
    if precision not in PRECISIONS.values():
        raise ModelError(f"precision must be one of {', '.join(PRECISIONS.values())}, got {precision!r}")
    if precision == "int8" and place.type != "cpu":
        raise ModelError(f"precision int8 is for a CPU, not for {place.type}; choose bf16 there")
    return torch.bfloat16 if precision in ("bf16", "8bit", "4bit") else torch.float32


def quantisation(bits: Literal["8bit", "4bit"], dtype: torch.dtype) -> BitsAndBytesConfig:
    """What `from_pretrained` is told of weights in so many bits, computed with in `dtype`.

    Raises:
        ModelError: If this machine cannot.
    """
    if find_spec("bitsandbytes") is None or not torch.cuda.is_available():
        raise ModelError(
            f"{bits} weights need an NVIDIA GPU and bitsandbytes; run pip install 'medvqa[quantised]' on a "
            "machine with one, or choose another precision"
        )
    if bits == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def attention_kernel(model_class: Any, place: torch.device, dtype: Any) -> str | None:
    """FlashAttention where card, numbers, model and an installed kernel allow it; None for the default."""
    halves = dtype in (torch.bfloat16, torch.float16)
    able = getattr(model_class, "_supports_flash_attn", False)
    if place.type == "cuda" and halves and able and is_flash_attn_2_available():
        return "flash_attention_2"
    return None


def round_to_int8(model: Any) -> None:
    """Quantise the decoder's linear layers and its head in place: a quarter of the memory, and no gradients.

    torchao, which succeeds this part of PyTorch, is several times slower on a CPU without compilation
    (https://github.com/pytorch/ao/issues/4365).
    """
    parts = nn.ModuleDict({"decoder": model.get_decoder(), "head": model.get_output_embeddings()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of that succession
        quantize_dynamic(parts, {nn.Linear}, dtype=torch.qint8, inplace=True)  # pyright: ignore[reportDeprecated]
    model.set_output_embeddings(parts["head"])


def is_rounded(model: Any) -> bool:
    """Whether the model went through `round_to_int8`."""
    return any(isinstance(module, Int8Linear) for module in model.modules())
