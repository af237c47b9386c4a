"""Simulated ground truth is where it says it is."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medvqa.simulation import (
    Finding,
    Kind,
    Nodule,
    insert_finding,
    insert_nodule,
    phantom,
    place_finding,
    place_nodule,
)

ORGANS = ("brain", "chest", "breast")
seeds = st.integers(0, 2**32 - 1)
organs = st.sampled_from(ORGANS)
kinds = st.sampled_from(get_args(Kind))
sides = st.integers(32, 300)
calm = settings(max_examples=20, deadline=None)


def nodule(row: float, column: float, *, radius: float = 5, contrast: float = 0.5) -> Nodule:
    return Nodule(row=row, column=column, radius=radius, contrast=contrast)


@pytest.mark.parametrize("organ", ORGANS)
@pytest.mark.parametrize("shape", [(192, 192), (64, 96), (224, 150)])
def test_a_phantom_is_an_image_of_its_shape(organ: str, shape: tuple[int, int]) -> None:
    pixels = phantom(organ, np.random.default_rng(1), shape=shape)
    assert pixels.shape == shape
    assert pixels.dtype == np.float32
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert pixels.std() > 0.05


@calm
@given(organs, seeds)
def test_one_seed_makes_one_phantom_and_one_nodule(organ: str, seed: int) -> None:
    first, second = (np.random.default_rng(seed) for _ in range(2))
    assert (phantom(organ, first, shape=(96, 96)) == phantom(organ, second, shape=(96, 96))).all()
    pixels = phantom(organ, np.random.default_rng(0), shape=(96, 96))
    assert place_nodule(pixels, first) == place_nodule(pixels, second)


def test_another_seed_makes_another_phantom() -> None:
    assert (phantom("brain", np.random.default_rng(0)) != phantom("brain", np.random.default_rng(1))).any()


@calm
@given(organs, seeds, st.integers(64, 160), st.integers(64, 160))
def test_a_placed_nodule_is_whole_certain_and_bright(organ: str, seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = phantom(organ, rng, shape=(rows, columns))
    placed = place_nodule(pixels, rng)
    assert abs(placed.row / rows - 0.5) > 0.04
    assert abs(placed.column / columns - 0.5) > 0.04
    assert placed.row - placed.radius > 0
    assert placed.row + placed.radius < rows
    assert placed.column - placed.radius > 0
    assert placed.column + placed.radius < columns
    added = insert_nodule(pixels, placed) - pixels
    assert added.min() >= 0
    row, column = (float((added * grid).sum() / added.sum()) for grid in np.indices(pixels.shape) + 0.5)
    # Where the picture is bright already, clipping to 1 takes from the disc and moves its centre a little.
    assert np.hypot(row - placed.row, column - placed.column) < placed.radius / 2
    area = int((added > 0).sum())
    assert 0.5 * np.pi * (placed.radius - 1) ** 2 < area < np.pi * (placed.radius + 1) ** 2


def test_a_nodule_is_a_disc_of_its_contrast_and_leaves_the_rest_alone() -> None:
    grey = np.full((40, 60), 0.25, dtype=np.float32)
    added = insert_nodule(grey, nodule(10.5, 40.5, radius=4)) - grey
    assert added[10, 40] == pytest.approx(0.5)
    assert added[10, 40 - 5] == added[10 + 5, 40] == 0
    assert added[10, 40 - 4] == added[10, 40 + 4] == added[10 - 4, 40] == added[10 + 4, 40] > 0
    assert (grey == 0.25).all()
    assert insert_nodule(grey, nodule(10.5, 40.5, contrast=2)).max() == 1


@pytest.mark.parametrize(
    ("row", "column", "quadrant"),
    [
        (10, 10, "upper left"),
        (10, 90, "upper right"),
        (35, 10, "lower left"),
        (35, 90, "lower right"),
        (19.9, 49.9, "upper left"),
        (20, 50, "lower right"),
    ],
)
def test_quadrants_are_the_viewer_s(row: float, column: float, quadrant: str) -> None:
    assert nodule(row, column).quadrant((40, 100)) == quadrant
    assert quadrant.endswith(nodule(row, column).side((40, 100)))


@calm
@given(organs, seeds)
def test_a_mirrored_image_flips_the_side_and_only_the_side(organ: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = phantom(organ, rng, shape=(96, 96))
    placed = place_nodule(pixels, rng)
    mirrored = replace(placed, column=96 - placed.column)
    assert {placed.side((96, 96)), mirrored.side((96, 96))} == {"left", "right"}
    assert placed.quadrant((96, 96)).split()[0] == mirrored.quadrant((96, 96)).split()[0]
    there = insert_nodule(pixels, placed)[:, ::-1]
    assert np.allclose(there, insert_nodule(pixels[:, ::-1], mirrored), atol=1e-6)


def test_phantoms_and_nodules_keep_their_bits() -> None:
    """The shipped model was trained, and its figures were measured, on exactly these."""
    rng, digests = np.random.default_rng(2024), []
    for organ in ORGANS:
        pixels = phantom(organ, rng, shape=(72, 64))
        placed = place_nodule(pixels, rng)
        place = repr((placed.row, placed.column, placed.radius, placed.contrast))
        content = pixels.tobytes() + insert_nodule(pixels, placed).tobytes() + place.encode()
        digests.append(hashlib.sha256(content).hexdigest()[:16])
    assert digests == ["3114cb046def84ad", "a44032941f044d74", "19fde36e185b9dc5"]


def drawn_on_grey(
    kind: str, seed: int, shape: tuple[int, int], level: float = 0.25
) -> tuple[Finding, np.ndarray]:
    """A finding on even grey, and what it added."""
    grey = np.full(shape, level, dtype=np.float32)
    placed = place_finding(kind, grey, np.random.default_rng(seed))
    return placed, insert_finding(grey, placed) - grey


@calm
@given(kinds, seeds, sides, sides)
def test_a_finding_is_whole_seen_and_where_it_says(kind: str, seed: int, rows: int, columns: int) -> None:
    placed, added = drawn_on_grey(kind, seed, (rows, columns))
    row, column = (grid[added != 0] + 0.5 for grid in np.indices(added.shape))
    assert len(row) >= 3
    assert np.hypot(row - placed.row, column - placed.column).max() <= placed.size / 2 + 1
    assert placed.size / 2 <= placed.row <= rows - placed.size / 2
    assert placed.size / 2 <= placed.column <= columns - placed.size / 2
    middle = replace(placed, row=float(row.mean()), column=float(column.mean()))
    assert np.hypot(middle.row - placed.row, middle.column - placed.column) < max(1.5, 0.2 * placed.size)
    assert abs(placed.row / rows - 0.5) > 0.03
    assert abs(placed.column / columns - 0.5) > 0.03
    assert middle.quadrant((rows, columns)) == placed.quadrant((rows, columns))
    if kind != "nodule":
        off_midline = min(abs(placed.row - rows / 2), abs(placed.column - columns / 2))
        assert off_midline >= placed.size / 4 - 1
    assert 0 < np.abs(added).max() <= placed.contrast + 1e-6


@calm
@given(kinds, seeds)
def test_one_seed_makes_one_finding(kind: str, seed: int) -> None:
    (first, added), (second, again) = (drawn_on_grey(kind, seed, (96, 80)) for _ in range(2))
    assert first == second
    assert (added == again).all()


@pytest.mark.parametrize("kind", ["opacity", "mass", "line"])
def test_another_seed_makes_another_shape(kind: str) -> None:
    placed, added = drawn_on_grey(kind, 1, (96, 80))
    grey = np.full((96, 80), 0.25, dtype=np.float32)
    other = insert_finding(grey, replace(placed, seed=placed.seed + 1)) - grey
    assert (added != other).any()


def test_a_finding_of_kind_nodule_is_the_nodule() -> None:
    pixels = phantom("brain", np.random.default_rng(5), shape=(96, 80))
    placed = place_finding("nodule", pixels, np.random.default_rng(6))
    same = nodule(placed.row, placed.column, radius=placed.size / 2, contrast=placed.contrast)
    assert (insert_finding(pixels, placed) == insert_nodule(pixels, same)).all()


def test_kinds_look_as_they_are_called() -> None:
    shape, many = (200, 200), range(12)
    added = {kind: [drawn_on_grey(kind, seed, shape)[1] for seed in many] for kind in get_args(Kind)}
    assert all(((one == 0) | (one == one.max())).all() for one in added["marker"])
    assert any((one < 0).any() for one in added["mass"])
    assert not all((one < 0).any() for one in added["mass"])
    # Most of an opacity fades; nearly all of a mass has one of two levels.
    assert all(len(np.unique(one.round(3))) > 100 for one in added["opacity"])
    area = {kind: np.mean([(one != 0).sum() for one in drawn]) for kind, drawn in added.items()}
    assert area["nodule"] < area["mass"]
    extent = {
        kind: np.mean([np.ptp(np.nonzero(one), axis=1).max() for one in drawn])
        for kind, drawn in added.items()
    }
    assert area["line"] < 4 * extent["line"]
    assert extent["line"] > max(extent["nodule"], extent["marker"])


def test_a_marker_is_near_a_corner_and_the_others_are_on_the_body() -> None:
    pixels = phantom("brain", np.random.default_rng(1), shape=(192, 192))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        marker, mass = place_finding("marker", pixels, rng), place_finding("mass", pixels, rng)
        assert max(abs(marker.row / 192 - 0.5), abs(marker.column / 192 - 0.5)) > 0.35
        assert pixels[int(mass.row), int(mass.column)] > 0.05


def test_what_is_white_already_shows_no_finding() -> None:
    white = np.ones((64, 64), dtype=np.float32)
    placed = place_finding("marker", white, np.random.default_rng(0))
    assert (insert_finding(white, placed) == white).all()
