"""The one door to every kind of checkpoint on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from transformers import AutoConfig

from medvqa.errors import ModelError
from medvqa.models import loading
from medvqa.models.checkpoints import DEFAULT_MODEL, UNLOADABLE, find_checkpoint
from medvqa.models.contrastive import KINDS, ContrastiveModel, load_contrastive
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.own_code import load_with_own_code
from medvqa.models.plain import PlainModel

if TYPE_CHECKING:
    from pathlib import Path

    from medvqa.types import Precision

Model: TypeAlias = HuggingFaceModel | PlainModel | ContrastiveModel


def load_model(
    name_or_path: str | Path = DEFAULT_MODEL,
    *,
    adapter: str | Path | None = None,
    device: str | None = None,
    precision: Precision | None = None,
    max_new_tokens: int = 32,
    own_code: bool = False,
) -> Model:
    """Load any checkpoint that medvqa serves: one that answers, or one that compares texts with images.

    Args:
        name_or_path: `default`, a folder, or a name on the Hugging Face hub, perhaps with `@revision` behind
            it. What was downloaded once is read from the cache.
        adapter: A folder or hub name of a peft adapter made for that model.
        device: See `medvqa.models.devices.parse_device`.
        precision: Of the weights; by default float32 on a CPU, and what the checkpoint has elsewhere.
        max_new_tokens: Longest answer.
        own_code: Run Python code that comes with the checkpoint, with all the rights of this process; of a
            hub name only at a commit. Such a model is explained by occlusion alone.

    Returns:
        A `HuggingFaceModel` that answers and shows what it rests on; a `PlainModel` that only answers, where
        it runs code of its own; a `ContrastiveModel` for CLIP and its kin, which choose among texts.

    Raises:
        ModelError: If the checkpoint or adapter cannot be found or loaded, or does not take what was given.
    """
    if own_code:
        _refuse(adapter is not None, "runs code of its own, and takes no adapter")
        return load_with_own_code(
            name_or_path, device=device, precision=precision, max_new_tokens=max_new_tokens
        )
    if _model_type(name_or_path) in KINDS:
        _refuse(adapter is not None or precision not in (None, "fp32"), "takes no adapter and stays in fp32")
        return load_contrastive(name_or_path, device=device)
    return loading.load_model(
        name_or_path, adapter=adapter, device=device, precision=precision, max_new_tokens=max_new_tokens
    )


def _model_type(name_or_path: str | Path) -> str | None:
    """transformers' name of the family; None where the checkpoint does not say, which loading tells."""
    try:
        return AutoConfig.from_pretrained(find_checkpoint(name_or_path)).model_type
    except UNLOADABLE:
        return None


def _refuse(wrong: bool, why: str) -> None:
    if wrong:
        raise ModelError(f"this model {why}; leave these options out")
