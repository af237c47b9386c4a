"""Whether an image is like any that the model was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from medvqa.errors import GateError
from medvqa.models.base import is_open
from medvqa.types import Notice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medvqa.models.base import VisionLanguageModel
    from medvqa.models.calibration import Familiarity
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import Image

Unfamiliar: TypeAlias = Literal["refuse", "warn"]
"""What happens to an image that is unlike anything in training."""


def check_familiarity(
    model: VisionLanguageModel, image: Image, *, unfamiliar: Unfamiliar = "refuse"
) -> tuple[Notice, ...]:
    """Refuse, or warn of, an image that is unlike all that the model was calibrated to know.

    Costs next to nothing where a question about the image follows: it is encoded once. A model without this
    calibration lets everything pass.

    Returns:
        `unfamiliar_image`, where it is one and `unfamiliar` is "warn".

    Raises:
        GateError: Where it is one and `unfamiliar` is "refuse".
    """
    if not is_open(model) or model.calibration is None or model.calibration.familiarity is None:
        return ()
    known = model.calibration.familiarity
    distance = measure_distance(image_features(model, image), known)
    if distance <= known.threshold:
        return ()
    message = (
        "the image is unlike anything the model was trained on "
        f"(distance {distance:.1f}, familiar images stay under {known.threshold:.1f}), so its answers about "
        "it would be guesses"
    )
    if unfamiliar == "refuse":
        raise GateError(f"{message}; use a model made for such images, or set unfamiliar to warn")
    return (Notice(code="unfamiliar_image", message=message),)


def measure_distance(features: NDArray[Any], known: Familiarity) -> float:
    """Mahalanobis distance from the nearest kind of familiar image, 0 or more.

    Args:
        features: From `image_features`, shape (width,).
        known: Gaussians of such features.

    Reference: Lee et al. 2018, A simple unified framework for detecting out-of-distribution samples.
    """
    apart = features - known.means
    squares = np.einsum("kd,de,ke->k", apart, known.precision, apart, dtype=np.float64)
    return float(np.sqrt(max(squares.min(), 0.0)))


def image_features(model: HuggingFaceModel, image: Image) -> NDArray[np.float32]:
    """Mean and standard deviation of the image's tokens over their places, shape (2 * width,)."""
    tokens = model.encode(image).features[0].float().cpu().numpy()
    return np.concatenate([tokens.mean(0), tokens.std(0)])
