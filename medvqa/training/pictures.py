"""What the default model learns from: real pictures, phantoms, and either with a simulated finding."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from monai.transforms.compose import Compose
from monai.transforms.intensity.array import (
    RandAdjustContrast,
    RandGaussianNoise,
    RandGaussianSmooth,
    RandScaleIntensity,
    RandShiftIntensity,
)
from monai.transforms.spatial.array import RandAffine, RandFlip
from PIL import Image as PillowImage

from medvqa.errors import TrainingError
from medvqa.simulation import insert_finding, phantom, place_finding
from medvqa.training.questions import SIMULATED, Content, could_hide
from medvqa.types import Image, ImageRef

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medvqa.simulation import Kind, Organ
    from medvqa.types import Pixels

Split = Literal["train", "val"]

_ORGANS: dict[str, Organ] = {"brain_mri": "brain", "chest_xray": "chest", "breast_us": "breast"}
_MODALITY: dict[Organ, str] = {"brain": "MR", "chest": "DX", "breast": "US"}
# MONAI's transforms cost about 8 ms a call whatever the number of channels (measured on one core): pictures
# that travel as the channels of one array share one random variation.
_TOGETHER = 8
_MOST_ENLARGED = 3
"""How many times as large as in training a picture is when its finding is drawn, at most."""
_COLUMNS = ("path", "set", "label", "split")
_FINDINGS: dict[Organ, dict[str, str]] = {
    "brain": {
        "glioma": "glioma",
        "meningioma": "meningioma",
        "pituitary": "pituitary tumor",
        "no_tumor": "no tumor",
    },
    "chest": {"pneumonia": "pneumonia", "no_finding": "no finding"},
    "breast": {"benign": "benign", "malignant": "malignant", "normal": "normal"},
}
"""The labels of each organ's set, and the words that the model answers with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture with what is known about it."""

    pixels: Pixels = field(repr=False)
    """Display intensity in [0, 1], float32, shape (side, side)."""
    content: Content
    name: str
    group: str
    """Of the same patient, as far as that is known."""


def load_pictures(data: Path, *, split: Split, side: int) -> list[Picture]:
    """Read the real pictures of `split` listed in `data/images.csv`, each resized to (side, side).

    The columns used are `path`, `set`, `label`, `split`, and `group` if there is one: `datasets/README.md`.

    Raises:
        TrainingError: If the list is missing or malformed, has nothing of that split, or names a set, label
            or file that is not known.
    """
    table = data / "images.csv"
    try:
        with table.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingError(
            f"{table} is missing or no CSV file; name a folder in the form of datasets/README.md"
        ) from error
    if any(row.get(column) is None for row in rows for column in _COLUMNS):
        raise TrainingError(f"{table} lacks a value; every row needs {', '.join(_COLUMNS)}")
    chosen = [row for row in rows if row["split"] == split]
    if not chosen:
        raise TrainingError(f"{table} has no row whose split is {split!r}; add some")
    return [_load(data, row, side) for row in chosen]


def make_phantoms(count: int, rng: np.random.Generator, *, side: int) -> list[Picture]:
    """`count` phantoms, the three organs in turn."""
    organs: tuple[Organ, ...] = ("brain", "chest", "breast")
    return [
        Picture(
            pixels=phantom(organ := organs[index % 3], rng, shape=(side, side)),
            content=Content(organ=organ, finding=None, simulated=None, shape=(side, side)),
            name=f"phantom-{organ}-{index}",
            group=f"phantom-{organ}-{index}",
        )
        for index in range(count)
    ]


def with_finding(picture: Picture, rng: np.random.Generator, *, enlarged: int = 1) -> Picture:
    """Return `picture` with a simulated finding at a random, known place, most often a nodule.

    Its kind is none that the picture may show already.

    Args:
        picture: Shape (side, side).
        rng: Draws kind, place and shape.
        enlarged: Draw on the picture made so many times as large, and make it small again: a line drawn on
            a small picture is wider and brighter than one on a large picture that a processor makes small.
    """
    kinds: list[Kind] = [kind for kind in SIMULATED if not could_hide(picture.content, kind)]
    shares = np.array([2.0 if kind == "nodule" else 1.0 for kind in kinds])
    kind = kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]
    side = len(picture.pixels)
    pixels = _resized(picture.pixels, side * enlarged)
    drawn = place_finding(kind, pixels, rng)
    pixels = _resized(insert_finding(pixels, drawn), side)
    finding = replace(
        drawn, row=drawn.row / enlarged, column=drawn.column / enlarged, size=drawn.size / enlarged
    )
    return replace(picture, pixels=pixels, content=replace(picture.content, simulated=finding))


def _resized(pixels: Pixels, side: int) -> Pixels:
    if len(pixels) == side:
        return pixels
    image = PillowImage.fromarray(pixels).resize((side, side), PillowImage.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.float32)


def to_image(picture: Picture) -> Image:
    """A picture as the noun that models are asked about; it has no UIDs and no digests."""
    nothing = dict.fromkeys(
        ("study_instance_uid", "series_instance_uid", "sop_instance_uid", "pixel_sha256", "file_sha256"), ""
    )
    ref = ImageRef(**nothing, frame_number=1)
    return Image(ref=ref, pixels=picture.pixels, modality=_MODALITY[picture.content.organ])


def augmentation(side: int, seed: int) -> Compose:
    """The MONAI transforms that vary pictures (n, rows, columns) alike , to (n, side, side).

    Mirroring is allowed because no question of the training set depends on the patient's own sides.
    """
    transform = Compose(
        [
            RandFlip(prob=0.5, spatial_axis=1),
            RandAffine(
                prob=1,
                rotate_range=0.17,
                shear_range=0.05,
                translate_range=0.08 * side,
                scale_range=0.18,
                spatial_size=(side, side),
                padding_mode="zeros",
            ),
            RandAdjustContrast(prob=0.5, gamma=(0.7, 1.5)),
            RandScaleIntensity(prob=0.5, factors=0.15),
            RandShiftIntensity(prob=0.5, offsets=0.06),
            RandGaussianSmooth(prob=0.2, sigma_x=(0.3, 0.9), sigma_y=(0.3, 0.9)),
            RandGaussianNoise(prob=0.3, std=0.03),
        ]
    )
    transform.set_random_state(seed)
    return transform


class Sampler:
    """Endless varied pictures: rare labels more often, a share of them with a simulated finding."""

    def __init__(
        self, pictures: list[Picture], *, side: int, seed: int, simulated_share: float = 0.5
    ) -> None:
        self._pictures = pictures
        self._side = side
        self._rng = np.random.default_rng(seed)
        self._augment = augmentation(side, seed)
        self._simulated_share = simulated_share
        keys = [(picture.content.organ, picture.content.finding) for picture in pictures]
        weights = np.array([keys.count(key) for key in keys]) ** -0.5
        self._weights: NDArray[np.float64] = weights / weights.sum()

    def draw(self, count: int) -> list[Picture]:
        """The next `count` pictures, each (side, side)."""
        chosen = self._rng.choice(len(self._pictures), count, p=self._weights)
        varied = [
            picture
            for start in range(0, count, _TOGETHER)
            for picture in self._vary([self._pictures[index] for index in chosen[start : start + _TOGETHER]])
        ]
        share = self._simulated_share
        return [
            with_finding(picture, self._rng, enlarged=int(self._rng.integers(1, _MOST_ENLARGED + 1)))
            if self._rng.random() < share
            else picture
            for picture in varied
        ]

    def _vary(self, pictures: list[Picture]) -> list[Picture]:
        stacked = np.stack([picture.pixels for picture in pictures])
        pixels = np.clip(np.asarray(self._augment(stacked)), 0, 1).astype(np.float32)
        shape = (self._side, self._side)
        return [
            replace(picture, pixels=varied, content=replace(picture.content, shape=shape))
            for picture, varied in zip(pictures, pixels, strict=True)
        ]


def _load(data: Path, row: dict[str, str], side: int) -> Picture:
    organ = _ORGANS.get(row["set"])
    if organ is None:
        raise TrainingError(f"{data / 'images.csv'}: set {row['set']!r} is not one of {', '.join(_ORGANS)}")
    finding = _FINDINGS[organ].get(row["label"])
    if finding is None:
        known = ", ".join(_FINDINGS[organ])
        raise TrainingError(
            f"{data / 'images.csv'}: label {row['label']!r} of {row['path']} is not one of {known}"
        )
    try:
        with PillowImage.open(data / row["path"]) as file:
            resized = file.convert("L").resize((side, side), PillowImage.Resampling.BILINEAR)
    except OSError as error:
        raise TrainingError(f"{data / row['path']} cannot be read as an image; download it again") from error
    return Picture(
        pixels=np.asarray(resized, dtype=np.float32) / np.float32(255),
        content=Content(organ=organ, finding=finding, simulated=None, shape=(side, side)),
        name=row["path"],
        group=row.get("group") or row["path"],
    )
