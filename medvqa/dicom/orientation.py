"""Which way the body lies in an image: letters for its edges, and the side of a paired organ."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.dataset import Dataset

    from medvqa.dicom.order import Orientation
    from medvqa.types import Edges

_AXES = (("L", "R"), ("P", "A"), ("H", "F"))
"""Toward larger and smaller coordinates of the patient (PS3.3 C.7.6.2.1.1)."""
_OPPOSITE = dict(zip("LRPAHF", "RLAPFH", strict=True))
_LEAST_COSINE = 0.2
"""A direction that turns less toward an axis gets no letter for it: 12 degrees off the plane."""
_STATED = re.compile(r"[LRPAHF]{1,3}")
_SIDES = {"L": "L", "R": "R", "B": "both"}


def read_edges(flat: Dataset, orientation: Orientation | None) -> Edges | None:
    """Return letters for the left, right, top and bottom edge of one frame.

    Args:
        flat: From `frame_attributes`; Patient Orientation (0020,0020) is taken where there is no geometry.
        orientation: Image Orientation (Patient) (0020,0037), if the frame has one.

    Returns:
        For each edge one to three of the letters of PS3.3 C.7.6.1.1.1, the strongest direction first; None
        where the file does not say, or speaks of an animal.
    """
    if orientation is not None:
        right, bottom = _letters(orientation[:3]), _letters(orientation[3:])
    else:
        stated: Any = flat.get("PatientOrientation") or ()
        parts = [str(part).strip().upper() for part in cast("Sequence[Any]", stated)]
        if len(parts) != 2 or not all(map(_STATED.fullmatch, parts)):
            return None
        right, bottom = parts
    return _turned(right), right, _turned(bottom), bottom


def read_laterality(flat: Dataset) -> str | None:
    """Return `L`, `R` or `both` from Image, Frame or series Laterality; None where none is stated.

    Reference: (0020,0062), (0020,9072) and (0020,0060).
    """
    for keyword in ("ImageLaterality", "FrameLaterality", "Laterality"):
        side = _SIDES.get(str(flat.get(keyword) or "").strip().upper())
        if side is not None:
            return side
    return None


def _letters(direction: Sequence[float]) -> str:
    named = [(abs(cosine), axis[cosine < 0]) for cosine, axis in zip(direction, _AXES, strict=True)]
    return "".join(letter for size, letter in sorted(named, reverse=True) if size >= _LEAST_COSINE)


def _turned(letters: str) -> str:
    return "".join(_OPPOSITE[letter] for letter in letters)
