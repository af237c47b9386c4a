"""What was measured once about a model and its adapter, and is kept beside them in `calibration.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medvqa.errors import ModelError

if TYPE_CHECKING:
    from medvqa.types import HeatmapMethod

FILE = "calibration.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """Platt scaling: confidence = 1 / (1 + exp(-(slope * logit(p) + intercept))), p the raw probability."""

    slope: float
    intercept: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstention:
    """The promise that a threshold keeps, on questions like those it was chosen on."""

    alpha: float
    """At most this share of the answered questions is answered wrongly."""
    threshold: float
    """Confidence below which the model does not answer."""
    answered: float
    """Share of the questions that it answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Familiarity:
    """What the vision features of familiar images look like: a Gaussian for each kind of image."""

    threshold: float
    """Mahalanobis distance beyond which an image is unlike all of them."""
    file: str
    """Beside this file: means (kinds, width) and precision (width, width), safetensors."""
    sha256: str
    """Of that file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """All that was measured; each part may be absent."""

    weights_sha256: str
    """The model it was measured on."""
    adapter_sha256: str | None = None
    confidence: Confidence | None = None
    abstention: Abstention | None = None
    familiarity: Familiarity | None = None
    attention_layers: tuple[int, ...] | None = None
    """Decoder layers whose attention points at findings best; None for all."""
    randomisation: Mapping[HeatmapMethod, float] = field(default_factory=dict[Any, float])
    """Rank correlation of each method's maps with those of the model with random weights, in [-1, 1]."""
    measured_on: str = ""
    """In words: which data, how many questions, which command."""


def read_calibration(folder: Path, *, weights_sha256: str, adapter_sha256: str | None) -> Calibration | None:
    """The calibration in `folder`; None where there is none.

    Raises:
        ModelError: If it is malformed, or was made for another model or adapter.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        parts = {"confidence": Confidence, "abstention": Abstention, "familiarity": Familiarity}
        content |= {name: kind(**content[name]) for name, kind in parts.items() if content.get(name)}
        if content.get("attention_layers") is not None:
            content["attention_layers"] = tuple(map(int, content["attention_layers"]))
        read = Calibration(**content)
    except (OSError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is malformed; remove it, or make it anew with medvqa calibrate") from error
    if (read.weights_sha256, read.adapter_sha256) != (weights_sha256, adapter_sha256):
        raise ModelError(
            f"{path} was made for other weights or another adapter; remove it, or make it anew with "
            "medvqa calibrate"
        )
    return read


def write_calibration(folder: Path, calibration: Calibration) -> Path:
    """Write `calibration.json` into `folder`, which must exist, and return its path."""
    path = folder / FILE
    content = {one.name: getattr(calibration, one.name) for one in fields(Calibration)}
    plain = {
        name: asdict(value) if isinstance(value, Confidence | Abstention | Familiarity) else value
        for name, value in content.items()
    }
    plain["randomisation"] = dict(calibration.randomisation)
    path.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    return path


def calibration_sha256(folder: Path) -> str | None:
    """Digest of `calibration.json`; None where there is none."""
    path = folder / FILE
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
