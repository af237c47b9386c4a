"""What an answer's image is compared with: the same few pictures for all answers, so that they are read once.

No patient's image may be kept to judge another patient's answer, so what an answer is compared with are
phantoms. They differ in organ, and two of them hold a simulated nodule, at opposite places: whatever an image
can be asked about, one of them should answer otherwise.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from medvqa.simulation import Nodule, insert_nodule, phantom
from medvqa.types import NOBODY, Applied, Image

if TYPE_CHECKING:
    from medvqa.simulation import Organ

GREYS = 4
"""Steps of intensity from black to white of empty pictures: few, since a model looks at each new one."""
SEED = 2026
SIDE = 192
"""Pixels along each edge."""

_STAND_INS: tuple[tuple[Organ, str, Nodule | None], ...] = (
    ("brain", "MR", None),
    ("chest", "DX", Nodule(row=70, column=58, radius=11, contrast=0.5)),
    ("breast", "US", Nodule(row=125, column=135, radius=11, contrast=0.5)),
)


@cache
def stand_ins() -> tuple[Image, ...]:
    """Three phantoms, made once: their pixels depend on `SEED` alone."""
    rng = np.random.default_rng(SEED)
    return tuple(_draw(organ, modality, nodule, rng) for organ, modality, nodule in _STAND_INS)


def empty_picture(image: Image) -> Image:
    """A uniform picture of the image's shape, and of its mean intensity to the nearest of `GREYS` steps."""
    level = np.round(image.pixels.mean(axis=(0, 1), dtype=np.float64) * GREYS) / GREYS
    return _fill(image.pixels.shape, tuple(np.atleast_1d(level).tolist()), image.modality)


@lru_cache(maxsize=64)
def _fill(shape: tuple[int, ...], level: tuple[float, ...], modality: str) -> Image:
    pixels = np.broadcast_to(np.array(level, dtype=np.float32), shape)
    return Image(ref=NOBODY, pixels=pixels, modality=modality, applied=(Applied(name="Blank"),))


def _draw(organ: Organ, modality: str, nodule: Nodule | None, rng: np.random.Generator) -> Image:
    pixels = phantom(organ, rng, shape=(SIDE, SIDE))
    if nodule is not None:
        pixels = insert_nodule(pixels, nodule)
    pixels.setflags(write=False)
    applied = Applied(name="Phantom", parameters={"organ": organ, "seed": SEED})
    return Image(ref=NOBODY, pixels=pixels, modality=modality, applied=(applied,))
