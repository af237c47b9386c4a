"""A model by its name, be it files on this machine or a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

import medvqa
from medvqa.errors import ModelError, SettingsError
from medvqa.models.checkpoints import DEFAULT_MODEL
from medvqa.models.loading import load_model

if TYPE_CHECKING:
    from medvqa.models.base import VisionLanguageModel
    from medvqa.types import Precision


def open_model(
    name: str | None,
    *,
    adapter: str | None = None,
    device: str | None = None,
    precision: Precision | None = None,
    remote: bool = False,
    remote_identified: bool = False,
) -> VisionLanguageModel:
    """Load a model, or connect to it where its name begins with http:// or https://.

    Args:
        name: See `medvqa.load_model` and `medvqa.connect`; None for the model that is shipped.
        adapter: See `medvqa.load_model`.
        device: See `medvqa.load_model`.
        precision: See `medvqa.load_model`.
        remote: Whether a model may be on a server.
        remote_identified: Whether images may be sent to it that may tell who the patient is.

    Raises:
        ModelError: If it cannot be loaded or reached, or there is an adapter for a model on a server.
        SettingsError: If it is on a server, and may not be.
    """
    if not is_address(name):
        return load_model(name or DEFAULT_MODEL, adapter=adapter, device=device, precision=precision)
    if not remote:
        raise SettingsError(
            "the model is on a server, to which images and questions would be sent; set remote = true in"
            " medvqa.toml, or MEDVQA_REMOTE=true, where they may go there"
        )
    if adapter is not None:
        raise ModelError("a model on a server takes no adapter; leave it out, or have the server load it")
    return medvqa.connect(name, identified=remote_identified)


def is_address(name: str | None) -> TypeGuard[str]:
    """Whether a model's name is the address of a server."""
    return name is not None and name.startswith(("http://", "https://"))
