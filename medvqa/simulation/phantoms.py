"""Anatomy-like pictures made of ellipses and noise, after three kinds of image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medvqa.types import Pixels

Organ: TypeAlias = Literal["brain", "chest", "breast"]


def phantom(organ: Organ, rng: np.random.Generator, *, shape: tuple[int, int] = (192, 192)) -> Pixels:
    """A random phantom of `organ` as display intensity in [0, 1], float32, shape (rows, columns)."""
    picture = _PHANTOMS[organ](rng, shape)
    return np.clip(picture, 0, 1).astype(np.float32)


def _ellipse(shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float]) -> Pixels:
    """Membership in [0, 1] of an ellipse; centre and radii are (row, column) fractions of the image."""
    rows = (np.arange(shape[0])[:, None] + 0.5) / shape[0]
    columns = (np.arange(shape[1])[None, :] + 0.5) / shape[1]
    distance = np.hypot((rows - centre[0]) / radii[0], (columns - centre[1]) / radii[1])
    return np.clip((1 - distance) * 40, 0, 1).astype(np.float32)


def _texture(rng: np.random.Generator, shape: tuple[int, int], grain: float) -> Pixels:
    """Smooth noise of unit variance; `grain` is its length in pixels of a 192-pixel image."""
    noise = gaussian_filter(rng.standard_normal(shape), grain * shape[0] / 192)
    return (noise / max(float(noise.std()), 1e-6)).astype(np.float32)


def _brain(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.floating]:
    middle = (0.5 + rng.uniform(-0.03, 0.03), 0.5 + rng.uniform(-0.03, 0.03))
    height, width = rng.uniform(0.38, 0.46), rng.uniform(0.3, 0.38)
    scalp = _ellipse(shape, middle, (height, width))
    skull = _ellipse(shape, middle, (height * 0.94, width * 0.93))
    brain = _ellipse(shape, middle, (height * 0.88, width * 0.86))
    picture = 0.7 * scalp - 0.6 * skull + rng.uniform(0.2, 0.35) * brain
    picture += brain * (0.05 * _texture(rng, shape, 3) + 0.03 * _texture(rng, shape, 1))
    for side in (-1, 1):
        ventricle = _ellipse(shape, (middle[0], middle[1] + side * 0.06), (rng.uniform(0.08, 0.13), 0.03))
        picture -= 0.2 * ventricle * brain
    return picture + 0.01 * rng.standard_normal(shape)


def _chest(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.floating]:
    body = _ellipse(shape, (0.62, 0.5), (0.65, 0.52))
    picture = 0.1 + rng.uniform(0.5, 0.62) * body
    for side in (-1, 1):
        lung = _ellipse(shape, (0.47, 0.5 + side * 0.2), (rng.uniform(0.28, 0.34), rng.uniform(0.13, 0.16)))
        picture -= rng.uniform(0.3, 0.38) * lung
    rows = (np.arange(shape[0])[:, None] + 0.5) / shape[0]
    columns = (np.arange(shape[1])[None, :] + 0.5) / shape[1]
    ribs = np.sin((rows + 0.35 * np.abs(columns - 0.5)) * rng.uniform(55, 65) + rng.uniform(0, 6))
    picture += 0.03 * body * (ribs > 0.55)
    picture += 0.2 * _ellipse(shape, (0.6, 0.55), (0.16, 0.11))
    picture += 0.12 * _ellipse(shape, (0.45, 0.5), (0.5, 0.04)) * body
    smooth = gaussian_filter(picture, 1.5 * shape[0] / 192)
    return smooth + 0.01 * _texture(rng, shape, 1)


def _breast(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.floating]:
    depth = (np.arange(shape[0])[:, None] + 0.5) / shape[0]
    layers = gaussian_filter(rng.standard_normal(shape), (2 * shape[0] / 192, 14 * shape[1] / 192))
    layers /= max(float(layers.std()), 1e-6)
    echo = np.clip(0.4 + 0.22 * layers, 0.05, 1) * np.exp(-rng.uniform(0.4, 1.2) * depth)
    speckle = rng.rayleigh(0.8, shape)
    return gaussian_filter(echo * speckle, (0.5, 0.9)) * (depth > 0.01)


_PHANTOMS: Mapping[Organ, Callable[[np.random.Generator, tuple[int, int]], NDArray[np.floating]]] = (
    MappingProxyType({"brain": _brain, "chest": _chest, "breast": _breast})
)
