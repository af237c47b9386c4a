"""What was measured once about a model and its adapter, and is kept beside them in `calibration.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from medvqa.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medvqa.types import HeatmapMethod

    Floats: TypeAlias = NDArray[np.float32]

FILE = "calibration.json"
FAMILIARITY_FILE = "familiarity.safetensors"
"""Beside it: `means` (kinds, width) and `precision` (width, width), float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """Platt scaling: confidence = 1 / (1 + exp(-(slope * logit(p) + intercept))), p the token probability."""

    slope: float
    intercept: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstention:
    """The promise that a threshold keeps, on images and questions drawn like those it was chosen on."""

    alpha: float
    """On average at most this share of the answered questions is answered wrongly; see
    `medvqa.evaluation.calibration.choose_threshold` for what exactly holds."""
    threshold: float
    """Confidence below which the model does not answer."""
    answered: float
    """Share of the questions that it answers, on held-out images."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Familiarity:
    """What the tokens of familiar images look like: for each kind a Gaussian, all of one covariance."""

    threshold: float
    """Mahalanobis distance to the nearest kind beyond which an image is unlike all of them."""
    kinds: tuple[str, ...]
    means: Floats = field(repr=False)
    """Shape (kinds, width)."""
    precision: Floats = field(repr=False)
    """Inverse of the covariance, (width, width)."""


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
        parts = {"confidence": Confidence, "abstention": Abstention}
        content |= {name: kind(**content[name]) for name, kind in parts.items() if content.get(name)}
        if content.get("familiarity"):
            content["familiarity"] = _read_familiarity(folder, **content["familiarity"])
        if content.get("attention_layers") is not None:
            content["attention_layers"] = tuple(map(int, content["attention_layers"]))
        read = Calibration(**content)
    except (OSError, TypeError, ValueError, KeyError, AttributeError, SafetensorError) as error:
        raise ModelError(f"{path} is malformed; remove it, or make it anew with medvqa calibrate") from error
    if (read.weights_sha256, read.adapter_sha256) != (weights_sha256, adapter_sha256):
        raise ModelError(
            f"{path} was made for other weights or another adapter; remove it, or make it anew with "
            "medvqa calibrate"
        )
    return read


def write_calibration(folder: Path, calibration: Calibration) -> Path:
    """Write `calibration.json` and the arrays beside it into `folder`, which must exist; return its path."""
    content = {one.name: getattr(calibration, one.name) for one in fields(Calibration)}
    plain = {
        name: asdict(value) if isinstance(value, Confidence | Abstention) else value
        for name, value in content.items()
    }
    plain["randomisation"] = dict(calibration.randomisation)
    if calibration.familiarity is not None:
        plain["familiarity"] = _write_familiarity(folder, calibration.familiarity)
    path = folder / FILE
    path.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    return path


def calibration_sha256(folder: Path) -> str | None:
    """Digest of `calibration.json`, which names the digest of its arrays; None where there is none."""
    path = folder / FILE
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _read_familiarity(folder: Path, *, threshold: float, kinds: list[str], sha256: str) -> Familiarity:
    path = folder / FAMILIARITY_FILE
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ValueError(f"{path} is another file than was written")
    arrays = load_file(path)
    means, precision = arrays["means"], arrays["precision"]
    if means.shape != (len(kinds), len(precision)) or precision.shape[0] != precision.shape[1]:
        raise ValueError(f"{path} holds arrays that do not fit")
    return Familiarity(threshold=threshold, kinds=tuple(kinds), means=means, precision=precision)


def _write_familiarity(folder: Path, familiarity: Familiarity) -> dict[str, Any]:
    path = folder / FAMILIARITY_FILE
    save_file({"means": familiarity.means, "precision": familiarity.precision}, path)
    return {
        "threshold": familiarity.threshold,
        "kinds": list(familiarity.kinds),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
