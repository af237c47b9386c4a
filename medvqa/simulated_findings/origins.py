"""Images to put findings into: phantoms, or what a person gives; nothing of a patient is kept of either."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from medvqa.errors import DicomError, GateError, MedvqaError
from medvqa.gate import TINY_SIDE, check_image
from medvqa.simulation import Organ, phantom
from medvqa.study import read_study

if TYPE_CHECKING:
    from medvqa.types import Pixels

_MODALITIES = frozenset(
    ("CR", "CT", "DX", "ES", "IO", "IVUS", "MG", "MR", "NM", "OP", "OPT", "PT", "PX", "RF", "US", "XA", "XC")
)
_LUMA = np.array((0.299, 0.587, 0.114), dtype=np.float32)  # Rec. 601: how bright a colour looks
_PHANTOM_SHAPE = (256, 224)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One image to put a finding into, and the technical attributes that go with it."""

    name: str
    """`brain phantom` and so on, or `given image`: never the name of a file."""
    pixels: Pixels = field(repr=False)
    """Display intensity in [0, 1], float32, shape (rows, columns)."""
    modality: str
    """As in Modality (0008,0060); `OT` where the file has none that is known."""
    pixel_spacing_mm: tuple[float, float] | None = None
    orientation: tuple[float, ...] | None = None
    position: tuple[float, ...] | None = None
    burned_in_annotation: str | None = None
    """As in Burned In Annotation (0028,0301); None where nobody knows."""
    lossy: bool = False
    """The pixels have been compressed with loss at some time."""


class Turn(NamedTuple):
    """One image whose turn it is."""

    finished_rounds: int
    """How many times all images have had their turn."""
    place: int
    """Of the image among all, from 0."""
    origin: Origin


def phantom_turns(seed: int) -> Iterator[Turn]:
    """Endless phantoms, the organs in turn."""
    for finished in itertools.count():
        for place, (organ, technical) in enumerate(_PHANTOMS.items()):
            rng = np.random.default_rng((seed, finished, place))
            pixels = phantom(organ, rng, shape=_PHANTOM_SHAPE)
            yield Turn(finished, place, Origin(name=f"{organ} phantom", pixels=pixels, **technical))


def given_turns(paths: Sequence[Path], *, on_skipped: Callable[[MedvqaError], None]) -> Iterator[Turn]:
    """One image of each file, over and over.

    Args:
        paths: Files that hold an image, of which the middle one is taken, and folders, which are searched
            through.
        on_skipped: Told once of each file of a folder that cannot be used.

    Raises:
        DicomError: If a file that was given by name, or every file of the folders, holds no image.
        GateError: If a file that was given by name is blank, tiny or much longer than wide.
    """
    files = [file for path in paths for file in _files(path)]
    for finished in itertools.count():
        for place, file in enumerate(tuple(files)):
            try:
                origin = read_origin(file)
            except MedvqaError as error:
                if file in paths:
                    raise
                files.remove(file)
                on_skipped(error)
            else:
                yield Turn(finished, place, origin)
        if not files:
            raise DicomError("no file that was given holds an image to put a finding into; give other files")


def read_origin(path: Path) -> Origin:
    """Read the middle image of a file as its presentation shows it; colour becomes grey.

    Raises:
        DicomError: If the file holds no image that can be decoded.
        GateError: If the image is blank, smaller than 32 x 32 or more than 20 times as long as wide.
    """
    study = read_study(path)
    image = study.images[len(study.images) // 2]
    check_image(image, modalities=frozenset())
    if min(image.shape) < TINY_SIDE:
        raise GateError(
            f"{path.name} has {image.shape[0]} x {image.shape[1]} pixels, too few for a finding to be seen;"
            f" give an image of {TINY_SIDE} x {TINY_SIDE} or more"
        )
    noticed = {notice.code for notice in study.warnings}
    is_jpeg = any(one.parameters.get("format") == "JPEG" for one in image.applied)
    return Origin(
        name="given image",
        pixels=image.pixels if image.pixels.ndim == 2 else image.pixels @ _LUMA,
        modality=image.modality if image.modality in _MODALITIES else "OT",
        pixel_spacing_mm=image.pixel_spacing_mm,
        orientation=image.orientation,
        position=image.position,
        burned_in_annotation="YES" if "burned_in_annotation" in noticed else None,
        lossy="lossy_compression" in noticed or is_jpeg,
    )


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


_PHANTOMS: Mapping[Organ, Mapping[str, Any]] = MappingProxyType(
    {
        "brain": {
            "modality": "MR",
            "pixel_spacing_mm": (0.9, 0.9),
            "orientation": (1, 0, 0, 0, 1, 0),
            "position": (-100.8, -115.2, 0),
            "burned_in_annotation": "NO",
        },
        "chest": {"modality": "DX", "pixel_spacing_mm": (1.6, 1.6), "burned_in_annotation": "NO"},
        "breast": {"modality": "US", "pixel_spacing_mm": (0.18, 0.18), "burned_in_annotation": "NO"},
    }
)
"""What a file of each organ's phantom says of itself, as an acquired image would."""
