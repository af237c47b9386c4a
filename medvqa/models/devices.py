"""Where a model's parts are kept: on one device, on several, or vision and language apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from medvqa.errors import ModelError
from medvqa.models.checkpoints import first_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_APART = re.compile(r"vision=([^,]+),language=([^,]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What `load_model` was told of devices."""

    first: torch.device
    """Where inputs go."""
    parts: str | tuple[str, str] | None
    """`auto`, or the places of vision and language; None where all is on one device."""


def parse_device(named: str | None) -> Placement:
    """Read the name of a place.

    Args:
        named: Such as `cpu`, `cuda:0` or `mps`; `auto` for as many GPUs as the model needs, and the memory of
            the machine after them; `vision=cuda:0,language=cuda:1` for the two parts apart, either of which
            may be `disk`, from where it is read layer by layer; None for the GPU where there is one.

    Raises:
        ModelError: If there is no such device.
    """
    preferred = "cuda" if torch.cuda.is_available() else "cpu"
    if named == "auto":
        return Placement(first=_usable(preferred), parts="auto")
    apart = _APART.fullmatch(named or "")
    if apart is None:
        return Placement(first=_usable(named or preferred), parts=None)
    vision, language = apart.groups()
    devices = [_usable(part) for part in (vision, language) if part != "disk"]
    if not devices:
        raise ModelError("vision and language cannot both stay on disk; give one of them a device")
    return Placement(first=devices[0], parts=(vision, language))


def require_one(placement: Placement) -> torch.device:
    """The one device of a model that cannot be divided.

    Raises:
        ModelError: If there are several.
    """
    if placement.parts is not None:
        raise ModelError("this model stays on one device; name one, such as cpu or cuda:0")
    return placement.first


def device_map(placement: Placement, folder: Path) -> str | dict[str, str] | None:
    """As `from_pretrained` takes it; None for a model that is moved as a whole."""
    if placement.parts is None or isinstance(placement.parts, str):
        return placement.parts
    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        module: Any = AutoModelForImageTextToText.from_config(config)
    decoder = module.get_decoder()
    head = module.get_output_embeddings()
    vision, language = placement.parts
    return {
        name: language if part in (decoder, head) else vision
        for name, part in _parts(module, {decoder, head})
    }


def _parts(module: Any, whole: set[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The largest parts that hold none of `whole` but themselves, and parameters between them."""
    for name, parameter in module.named_parameters(recurse=False):
        yield prefix + name, parameter
    for name, child in module.named_children():
        if child in whole or not whole & set(child.modules()):
            yield prefix + name, child
        else:
            yield from _parts(child, whole, f"{prefix}{name}.")


def _usable(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # builds without CUDA assert
        raise ModelError(f"device {name!r} cannot be used: {first_line(error)}; choose cpu") from error
