"""Simulated ground truth is where it says it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medvqa.simulation import Nodule, insert_nodule, phantom, place_nodule

ORGANS = ("brain", "chest", "breast")
seeds = st.integers(0, 2**32 - 1)
organs = st.sampled_from(ORGANS)
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
