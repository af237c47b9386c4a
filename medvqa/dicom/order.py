"""The order of frames: series, then stacks of parallel planes, then the place along their normal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeAlias, TypeVar

import numpy as np

# cos 2.5 degrees: the planes of one stack are parallel up to rounding; those of a localizer are not.
PARALLEL_COSINE = 0.999
# Positions closer than this are one place: decimal strings round to about 1e-4 mm.
PLACE_MM = 1e-3

Vector: TypeAlias = tuple[float, float, float]
Orientation: TypeAlias = tuple[float, float, float, float, float, float]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement(Generic[T]):
    """What a frame's place in its study rests on. File names have no part in it."""

    item: T
    series_number: int | None
    series_instance_uid: str
    instance_number: int | None
    frame_number: int
    sop_instance_uid: str
    position: Vector | None = None
    """Image Position (Patient) (0020,0032), in mm."""
    orientation: Orientation | None = None
    """Image Orientation (Patient) (0020,0037)."""


def sort_placements(placements: Iterable[Placement[T]]) -> list[Placement[T]]:
    """Sort by series, then geometry, then Instance Number, frame and SOP Instance UID.

    Series follow Series Number (0020,0011), those without one last, then Series Instance UID. Within a
    series parallel planes form a stack, stacks follow their earliest instance, and a stack is sorted by the
    projection of Image Position on the normal of Image Orientation: axial slices run from feet to head.
    Frames without geometry form a stack of their own, in acquisition order.

    Reference: DICOM PS3.3 C.7.6.2.1.1.
    """
    series: dict[tuple[bool, int, str], list[Placement[T]]] = {}
    for placement in sorted(placements, key=_acquisition):
        number = placement.series_number
        key = (number is None, number or 0, placement.series_instance_uid)
        series.setdefault(key, []).append(placement)
    return [placement for key in sorted(series) for placement in _sort_series(series[key])]


def _acquisition(placement: Placement[T]) -> tuple[bool, int, str, int]:
    number = placement.instance_number
    return number is None, number or 0, placement.sop_instance_uid, placement.frame_number


def _sort_series(members: list[Placement[T]]) -> list[Placement[T]]:
    # `members` come in acquisition order, so stacks do too, and equal places keep it: sorts are stable.
    stacks: list[tuple[np.ndarray | None, list[Placement[T]]]] = []
    for member in members:
        normal = _normal(member)
        parallel = next((stack for axis, stack in stacks if _are_parallel(normal, axis)), None)
        if parallel is None:
            stacks.append((normal, [member]))
        else:
            parallel.append(member)
    for axis, stack in stacks:
        if axis is not None:
            stack.sort(key=partial(_place, axis=axis))
    return [member for _, stack in stacks for member in stack]


def _are_parallel(normal: np.ndarray | None, axis: np.ndarray | None) -> bool:
    if normal is None or axis is None:
        return normal is axis
    return float(normal @ axis) >= PARALLEL_COSINE


def _normal(placement: Placement[T]) -> np.ndarray | None:
    """Unit normal of the image plane, or None where position or orientation is missing or degenerate."""
    if placement.position is None or placement.orientation is None:
        return None
    cosines = np.asarray(placement.orientation, dtype=np.float64)
    normal = np.cross(cosines[:3], cosines[3:])
    length = float(np.linalg.norm(normal))
    return normal / length if length > 0.5 else None


def _place(placement: Placement[T], *, axis: np.ndarray) -> int:
    return round(float(np.dot(np.asarray(placement.position), axis)) / PLACE_MM)
