"""Letters at an image's edges say which way the body lies; nothing is said where the file does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_builder import enhanced, gradient, image, item, write
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from medvqa import read_study
from medvqa.dicom.orientation import read_edges
from medvqa.types import Frame

LEFT, POSTERIOR, HEAD = (1, 0, 0), (0, 1, 0), (0, 0, 1)
FEET, ANTERIOR = (0, 0, -1), (0, -1, 0)


def frame(tmp_path: Path, **elements: Any) -> Frame:
    return read_study(write(tmp_path / "x.dcm", image(gradient(), **elements))).frames[0]


@pytest.mark.parametrize(
    ("row", "column", "letters"),
    [
        (LEFT, POSTERIOR, ("R", "L", "A", "P")),
        (LEFT, FEET, ("R", "L", "H", "F")),
        (POSTERIOR, FEET, ("A", "P", "H", "F")),
        (ANTERIOR, HEAD, ("P", "A", "F", "H")),
    ],
)
def test_axial_coronal_and_sagittal_planes_have_their_letters(
    tmp_path: Path, row: tuple[int, ...], column: tuple[int, ...], letters: tuple[str, ...]
) -> None:
    assert frame(tmp_path, ImageOrientationPatient=[*row, *column]).edges == letters


def test_an_oblique_plane_has_its_strongest_direction_first(tmp_path: Path) -> None:
    half = 0.5**0.5
    turned = [0.8, 0.6, 0, 0, 0, -1]
    assert frame(tmp_path, ImageOrientationPatient=turned).edges == ("RA", "LP", "H", "F")
    tilted = [1, 0, 0, 0, half, -half]
    edges = frame(tmp_path, ImageOrientationPatient=tilted).edges
    assert edges is not None
    assert set(edges[2]) == {"A", "H"}


def test_a_direction_next_to_an_axis_has_one_letter(tmp_path: Path) -> None:
    assert frame(tmp_path, ImageOrientationPatient=[0.995, 0.0998, 0, -0.0998, 0.995, 0]).edges == (
        *("R", "L", "A", "P"),
    )


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.lists(st.floats(-1, 1), min_size=3, max_size=3))
def test_opposite_edges_are_opposite(row: list[float], column: list[float]) -> None:
    opposite = str.maketrans("LRPAHF", "RLAPFH")
    edges = read_edges(Dataset(), (*row, *column))
    assert edges is not None
    assert edges[0].translate(opposite) == edges[1]
    assert edges[2].translate(opposite) == edges[3]


def test_a_radiograph_states_its_orientation(tmp_path: Path) -> None:
    def stated(*parts: str) -> Any:
        return frame(tmp_path, ImageOrientationPatient=None, PatientOrientation=list(parts)).edges

    assert stated("L", "F") == ("R", "L", "H", "F")
    assert stated("A", "FR") == ("P", "A", "HL", "FR")
    assert stated("CR", "V") is None  # an animal's
    assert stated("L") is None


def test_nothing_stated_is_nothing_said(tmp_path: Path) -> None:
    bare = frame(tmp_path, ImageOrientationPatient=None)
    assert (bare.edges, bare.laterality) == (None, None)


@pytest.mark.parametrize("keyword", ["ImageLaterality", "Laterality"])
def test_the_side_of_a_paired_organ_is_read(tmp_path: Path, keyword: str) -> None:
    assert frame(tmp_path, **{keyword: "R"}).laterality == "R"
    assert frame(tmp_path, **{keyword: "U"}).laterality is None


def test_the_image_s_own_side_goes_before_that_of_its_series(tmp_path: Path) -> None:
    assert frame(tmp_path, Laterality="L", ImageLaterality="B").laterality == "both"


def test_the_side_of_an_enhanced_frame_is_read(tmp_path: Path) -> None:
    sides = [{"FrameAnatomySequence": item(FrameLaterality=side)} for side in "LR"]
    file = write(tmp_path / "x.dcm", enhanced(np.stack([gradient()] * 2), per_frame=sides))
    assert [one.laterality for one in read_study(file).frames] == ["L", "R"]
