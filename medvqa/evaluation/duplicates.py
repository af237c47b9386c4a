"""Images of the test that are in training too, or nearly: found by a perceptual hash."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as PillowImage
from scipy.fft import dctn

from medvqa.cases import read_image
from medvqa.imaging import to_uint8

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from medvqa.cases import Case
    from medvqa.types import Image

SIDE = 16
"""Lowest frequencies of the hash in each direction: 256 bits."""
NEAR = 25
"""Bits that may differ. Of 100 images saved again as JPEG at three quarters of their size, all but one
differed by 20 at most; of 100 cut by a few pixels at the edges, half by 24 at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """A measured image, and the image of training that it is nearest to."""

    image: Path
    train_image: Path
    distance: int
    """Bits of `SIDE` ** 2 that differ."""


def hash_image(image: Image) -> NDArray[np.uint8]:
    """Whether each low frequency of the cosine transform is above their median, packed, shape (32,).

    Reference: Zauner 2010, Implementation and benchmarking of perceptual image hash functions.
    """
    grey = PillowImage.fromarray(to_uint8(image)).convert("L")
    small = grey.resize((4 * SIDE, 4 * SIDE), PillowImage.Resampling.BOX)
    frequencies = np.asarray(dctn(np.asarray(small, dtype=np.float64), norm="ortho"))[:SIDE, :SIDE].ravel()
    return np.packbits(frequencies > np.median(frequencies[1:]))


def find_duplicates(
    cases: Sequence[Case], training: Sequence[Case], *, on_read: Callable[[], None] = lambda: None
) -> tuple[Duplicate, ...]:
    """Measured images within `NEAR` bits of one of training, nearest first.

    Args:
        cases: That are measured.
        training: That a model may have learned from.
        on_read: Called after each image.

    Raises:
        TrainingError: If an image cannot be read.
    """
    if not training:
        return ()
    measured, known = _hash_all(cases, on_read), _hash_all(training, on_read)
    paths, hashes = [path for path, _ in known], np.stack([bits for _, bits in known])
    found: list[Duplicate] = []
    for path, bits in measured:
        distances = np.bitwise_count(hashes ^ bits).sum(1, dtype=np.int64)
        nearest = int(distances.argmin())
        if distances[nearest] <= NEAR:
            found.append(Duplicate(image=path, train_image=paths[nearest], distance=int(distances[nearest])))
    return tuple(sorted(found, key=lambda one: one.distance))


def count_images(cases: Sequence[Case]) -> int:
    """Different images, as `find_duplicates` reads them."""
    return len({(case.image, case.frame) for case in cases})


def _hash_all(cases: Sequence[Case], on_read: Callable[[], None]) -> list[tuple[Path, NDArray[np.uint8]]]:
    hashes: list[tuple[Path, NDArray[np.uint8]]] = []
    for case in {(case.image, case.frame): case for case in cases}.values():
        hashes.append((case.image, hash_image(read_image(case))))
        on_read()
    return hashes
