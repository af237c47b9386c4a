"""Slices are ordered by where they lie, whatever their files are called and however they come."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from medvqa.dicom.order import Placement, sort_placements

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def place(name: str, **options: object) -> Placement[str]:
    defaults = Placement(
        item=name,
        series_number=1,
        series_instance_uid="1.1",
        instance_number=1,
        frame_number=1,
        sop_instance_uid=name,
        position=(0.0, 0.0, 0.0),
        orientation=AXIAL,
    )
    return replace(defaults, **options)  # pyright: ignore[reportArgumentType]


def names(placements: list[Placement[str]]) -> list[str]:
    return [placement.item for placement in sort_placements(placements)]


def test_axial_slices_run_from_feet_to_head_whatever_their_instance_numbers() -> None:
    head = place("head", position=(0, 0, 30), instance_number=1)
    feet = place("feet", position=(0, 0, -30), instance_number=9)
    assert names([head, feet]) == ["feet", "head"]


def test_slices_at_one_place_follow_instance_number_then_uid_then_frame() -> None:
    late = place("late", instance_number=2, sop_instance_uid="a")
    second = place("second", instance_number=1, sop_instance_uid="b", frame_number=2)
    first = place("first", instance_number=1, sop_instance_uid="b", frame_number=1)
    assert names([late, second, first]) == ["first", "second", "late"]


def test_series_are_kept_together_by_number_and_those_without_come_last() -> None:
    none = place("none", series_number=None, series_instance_uid="1.0")
    ten = place("ten", series_number=10, series_instance_uid="1.3")
    two = place("two", series_number=2, series_instance_uid="1.9")
    assert names([none, ten, two]) == ["two", "ten", "none"]


def test_planes_that_cross_form_stacks_of_their_own() -> None:
    localizer = place("localizer", orientation=SAGITTAL, position=(5, 0, 0), instance_number=0)
    low = place("low", position=(0, 0, -9), instance_number=2)
    high = place("high", position=(0, 0, 9), instance_number=1)
    assert names([low, localizer, high]) == ["localizer", "low", "high"]


def test_frames_without_geometry_keep_acquisition_order() -> None:
    frames = [place(str(number), position=None, instance_number=number) for number in (3, 1, 2)]
    assert names(frames) == ["1", "2", "3"]


def test_a_degenerate_orientation_counts_as_none() -> None:
    flat = place("flat", orientation=(1, 0, 0, 1, 0, 0), instance_number=1)
    assert names([place("real", instance_number=0), flat]) == ["real", "flat"]


ANGLE = st.floats(0, 2 * np.pi)
OFFSETS = st.lists(st.integers(-500, 500), min_size=2, max_size=12, unique=True)


@given(first=ANGLE, second=ANGLE, offsets=OFFSETS, random=st.randoms(use_true_random=False))
def test_oblique_stacks_follow_their_normal_in_any_input_order(
    first: float, second: float, offsets: list[int], random: object
) -> None:
    row = np.array([np.cos(first), np.sin(first), 0.0])
    aside = np.array([-np.sin(first) * np.cos(second), np.cos(first) * np.cos(second), np.sin(second)])
    normal = np.cross(row, aside)
    orientation = tuple(round(float(value), 6) for value in (*row, *aside))
    slices = [
        place(
            str(offset),
            orientation=orientation,
            position=tuple(offset / 10 * normal),
            instance_number=None if offset % 2 else 7,
        )
        for offset in offsets
    ]
    random.shuffle(slices)  # pyright: ignore[reportAttributeAccessIssue]
    assert names(slices) == [str(offset) for offset in sorted(offsets)]
