"""The picture without its content, from which an attribution counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy.ndimage import gaussian_filter

from medvqa.imaging import blank
from medvqa.types import Applied, Image

if TYPE_CHECKING:
    from medvqa.types import Pixels

Baseline: TypeAlias = Literal["mean", "black", "blurred"]

_BLUR = 0.1
"""Standard deviation as a share of the shorter edge: coarse anatomy stays, a finding is gone."""


def blacken(image: Image) -> Image:
    """Return `image` all black."""
    return _changed(image, np.zeros_like(image.pixels), "Blacken")


def blur(image: Image) -> Image:
    """Return `image` behind a Gaussian whose standard deviation is a tenth of its shorter edge."""
    spread = _BLUR * min(image.shape)
    sigma = (spread, spread, *[0.0] * (image.pixels.ndim - 2))
    blurred = np.asarray(gaussian_filter(image.pixels, sigma, mode="nearest"), dtype=np.float32)
    return _changed(image, blurred, "Blur")


BASELINES: Mapping[Baseline, tuple[Callable[[Image], Image], str]] = MappingProxyType(
    {
        "mean": (blank, "blanked to its mean grey"),
        "black": (blacken, "all black"),
        "blurred": (blur, "blurred beyond recognition"),
    }
)
"""Each with its words: "the image blanked to its mean grey"."""


def _changed(image: Image, pixels: Pixels, name: str) -> Image:
    pixels.setflags(write=False)
    return replace(image, pixels=pixels, applied=(*image.applied, Applied(name=name)))
