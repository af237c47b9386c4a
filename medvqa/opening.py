"""A model as the settings name it: files on this machine, perhaps with code of their own, or a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard, cast

import medvqa
from medvqa.cases import read_shots
from medvqa.errors import ModelError, SettingsError
from medvqa.models.base import is_open
from medvqa.models.checkpoints import DEFAULT_MODEL
from medvqa.models.door import load_model

if TYPE_CHECKING:
    from pathlib import Path

    from medvqa.models.base import VisionLanguageModel
    from medvqa.settings import Settings
    from medvqa.types import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedModel:
    """What the settings say of a model; fields as of `medvqa.settings.Settings`."""

    name: str = DEFAULT_MODEL
    adapter: str | None = None
    device: str | None = None
    precision: Precision | None = None
    remote: bool = False
    remote_identified: bool = False
    own_code: bool = False
    max_new_tokens: int = 32
    """Longest answer."""


def named_model(settings: Settings, *, max_new_tokens: int = 32) -> NamedModel:
    """The model that the settings name."""
    return NamedModel(
        name=settings.model or DEFAULT_MODEL,
        adapter=settings.adapter,
        device=settings.device,
        precision=settings.precision,
        remote=settings.remote,
        remote_identified=settings.remote_identified,
        own_code=settings.own_code,
        max_new_tokens=max_new_tokens,
    )


def open_model(named: NamedModel) -> VisionLanguageModel:
    """Load a model, or connect to it where its name begins with http:// or https://.

    Raises:
        ModelError: If it cannot be loaded or reached, or does not take what goes with it.
        SettingsError: If it is on a server, and may not be.
    """
    if is_address(named.name):
        return _connect(named)
    loaded = load_model(
        named.name,
        adapter=named.adapter,
        device=named.device,
        precision=named.precision,
        max_new_tokens=named.max_new_tokens,
        own_code=named.own_code and named.name != DEFAULT_MODEL,
    )
    # One that only compares texts with images does for some tasks, and refuses to be asked.
    return cast("VisionLanguageModel", loaded)


def with_shots(model: VisionLanguageModel, cases: Path) -> VisionLanguageModel:
    """A model that is shown cases, each an image with a question and its answer, before it is asked.

    Args:
        model: From `open_model`.
        cases: As for `medvqa.cases.read_cases`.

    Raises:
        ModelError: If it takes none.
        TrainingError, DicomError: If the cases cannot be read.
    """
    if not is_open(model):
        raise ModelError(
            "only a checkpoint of a known family on this machine takes examples; leave --shots out, or "
            "choose another --model"
        )
    return model.with_shots(read_shots(cases))


def is_address(name: str | None) -> TypeGuard[str]:
    """Whether a model's name is the address of a server."""
    return name is not None and name.startswith(("http://", "https://"))


def _connect(named: NamedModel) -> VisionLanguageModel:
    if not named.remote:
        raise SettingsError(
            "the model is on a server, to which images and questions would be sent; set remote = true in"
            " medvqa.toml, or MEDVQA_REMOTE=true, where they may go there"
        )
    if named.adapter is not None:
        raise ModelError("a model on a server takes no adapter; leave it out, or have the server load it")
    return medvqa.connect(named.name, identified=named.remote_identified, max_new_tokens=named.max_new_tokens)
