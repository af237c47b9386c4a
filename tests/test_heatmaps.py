"""A heatmap lies where the model looked: a bright square is followed through processor, tokens and paint."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from tiny_models import llava_processor, noise, shown
from torch.nn import functional

from medvqa.errors import ModelError
from medvqa.heatmaps import HEATMAPS, integrated_gradients_heatmap, overlay, save_overlay
from medvqa.heatmaps.geometry import paint, pool, token_map
from medvqa.imaging import to_uint8
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.layouts import WHOLE, TokenGrid, resized_or_cropped, square_grid
from medvqa.records import heatmap_sha256
from medvqa.training.architecture import STRIDE, build_processor
from medvqa.types import Heatmap

if TYPE_CHECKING:
    from medvqa.types import Pixels

QUESTION = "Is there a tumor?"


@cache
def processors() -> dict[str, Any]:
    return {"deepseek_vl": build_processor([""]), "llava": llava_processor()}


def look(family: str, pixels: np.ndarray) -> tuple[Pixels, TokenGrid]:
    """What a model would show whose every image token matters as much as its cell is bright."""
    image_processor = processors()[family].image_processor
    picture = PillowImage.fromarray(to_uint8(shown(pixels)))
    seen = image_processor(picture, return_tensors="pt")["pixel_values"][0].float()
    brightness = (seen - seen.amin((1, 2), keepdim=True)).mean(0)
    side = brightness.shape[0] // (STRIDE if family == "deepseek_vl" else 14)
    scores = functional.adaptive_avg_pool2d(brightness[None, None], side).flatten()
    first = 1 if family == "deepseek_vl" else 0
    scores = torch.cat([torch.full((first,), 99.0), scores])
    grid = square_grid(len(scores), resized_or_cropped(image_processor, pixels.shape[:2]))
    return paint(token_map(scores, grid), grid.box, pixels.shape[:2]), grid


def centroid(values: Pixels) -> tuple[float, float]:
    rows, columns = np.indices(values.shape) + 0.5
    return float((rows * values).sum() / values.sum()), float((columns * values).sum() / values.sum())


@st.composite
def bright_squares(draw: st.DrawFn) -> tuple[np.ndarray, tuple[float, float]]:
    """A black image of odd size, up to 4:1, with a bright square; and the square's centre in pixels."""
    rows = draw(st.integers(37, 301))
    columns = draw(st.integers(max(37, rows // 4), min(301, rows * 4)))
    side = max(4, min(rows, columns) // 9)
    top, left = draw(st.integers(0, rows - side)), draw(st.integers(0, columns - side))
    pixels = np.zeros((rows, columns))
    pixels[top : top + side, left : left + side] = 1
    return pixels, (top + side / 2, left + side / 2)


followed = settings(
    max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much]
)


@followed
@given(bright_squares())
def test_the_default_model_s_map_follows_a_square_anywhere(
    drawn: tuple[np.ndarray, tuple[float, float]],
) -> None:
    pixels, centre = drawn
    values, grid = look("deepseek_vl", pixels)
    assert grid.box == WHOLE
    assert_at(values, centre, patch=(pixels.shape[0] / grid.rows, pixels.shape[1] / grid.columns))


@followed
@given(bright_squares())
def test_llava_s_map_follows_a_square_inside_its_crop(drawn: tuple[np.ndarray, tuple[float, float]]) -> None:
    pixels, centre = drawn
    box = resized_or_cropped(processors()["llava"].image_processor, pixels.shape)
    half = max(4, min(pixels.shape) // 9) / 2
    inside = [
        box[axis] * size + half <= at <= box[axis + 2] * size - half
        for axis, (at, size) in enumerate(zip(centre, pixels.shape, strict=True))
    ]
    assume(all(inside))
    values, grid = look("llava", pixels)
    patch = min(pixels.shape) / grid.rows
    assert_at(values, centre, patch=(patch, patch))
    top, left = round(box[0] * pixels.shape[0]), round(box[1] * pixels.shape[1])
    assert not values[:top].any()
    assert not values[:, :left].any()


def assert_at(values: Pixels, centre: tuple[float, float], *, patch: tuple[float, float]) -> None:
    """Highest value and centre of mass lie within a patch of `centre`, and the mass is not spread out."""
    highest = np.argwhere(values == values.max()).mean(0) + 0.5
    for found in (highest, centroid(values)):
        for at, true, size in zip(found, centre, patch, strict=True):
            assert abs(at - true) <= size


@followed
@given(short=st.integers(37, 75), long=st.integers(150, 301), tall=st.booleans(), last=st.booleans())
def test_what_llava_s_crop_leaves_out_is_not_painted(
    short: int, long: int, *, tall: bool, last: bool
) -> None:
    pixels = np.zeros((long, short))
    edge = slice(-6, None) if last else slice(0, 6)
    pixels[edge] = 1
    values, grid = look("llava", pixels if tall else pixels.T)
    assert values.shape == ((long, short) if tall else (short, long))
    assert not values.any()
    covered = (grid.box[2] - grid.box[0], grid.box[3] - grid.box[1])
    assert min(covered) == pytest.approx(short / long, rel=0.03)
    assert max(covered) == 1


@pytest.mark.parametrize("row", range(4))
@pytest.mark.parametrize("column", range(5))
@pytest.mark.parametrize("box", [WHOLE, (0.25, 0.0, 0.75, 1.0), (0.0, 0.1, 1.0, 0.9)])
def test_one_token_is_painted_around_the_middle_of_its_cell(row: int, column: int, box: Any) -> None:
    scores = torch.zeros(20)
    scores[row * 5 + column] = 1
    shape = (80, 200)
    values = paint(token_map(scores, TokenGrid(first=0, rows=4, columns=5, box=box)), box, shape)
    height, width = (box[2] - box[0]) * shape[0] / 4, (box[3] - box[1]) * shape[1] / 5
    middle = (box[0] * shape[0] + (row + 0.5) * height, box[1] * shape[1] + (column + 0.5) * width)
    # At the rim bilinear paint is cut off by the edge of the box, which moves the centroid outwards.
    at_rim = (row in (0, 3), column in (0, 4))
    for found, true, size, rim in zip(centroid(values), middle, (height, width), at_rim, strict=True):
        assert abs(found - true) <= (0.3 * size if rim else 0.01)
    assert values[int(middle[0]), int(middle[1])] > 0.9


def test_the_global_token_is_left_out() -> None:
    grid = square_grid(10, WHOLE)
    assert (grid.first, grid.rows, grid.columns) == (1, 3, 3)
    assert token_map(torch.arange(10.0), grid).tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


@pytest.mark.parametrize("tokens", [0, 2, 3, 7, 12])
def test_tokens_that_form_no_square_are_refused(tokens: int) -> None:
    if tokens == 2:
        assert square_grid(tokens, WHOLE).first == 1
        return
    with pytest.raises(ModelError, match="neither a square grid"):
        square_grid(tokens, WHOLE)


def test_paint_keeps_only_what_speaks_for_the_answer_and_is_read_only() -> None:
    values = paint(torch.tensor([[-5.0, 2.0], [4.0, -1.0]]), WHOLE, (2, 2))
    assert values.tolist() == [[0, 0.5], [1, 0]]
    assert values.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0] = 1
    assert not paint(-torch.ones(3, 3), WHOLE, (5, 7)).any()


def test_pool_sums_over_cells() -> None:
    fine = torch.arange(24.0).reshape(4, 6)
    assert pool(fine, 2, 3).tolist() == [[14, 22, 30], [62, 70, 78]]
    assert pool(fine, 2, 3).sum() == fine.sum()


@pytest.fixture(scope="module", params=HEATMAPS)
def heatmap(request: pytest.FixtureRequest, default_model: HuggingFaceModel) -> Heatmap:
    image = noise(53, 81)
    return HEATMAPS[request.param](default_model, image, QUESTION, default_model.generate(image, QUESTION))


def test_a_heatmap_has_the_image_s_own_pixels(heatmap: Heatmap) -> None:
    assert heatmap.values.shape == (53, 81)
    assert heatmap.values.dtype == np.float32
    assert heatmap.values.min() >= 0
    assert heatmap.values.max() in (0, 1)
    assert not heatmap.values.flags.writeable
    assert heatmap.grid == (8, 8)


def test_a_saved_heatmap_has_the_image_s_size(heatmap: Heatmap, tmp_path: Path) -> None:
    heatmap.save(tmp_path / "map.png")
    with PillowImage.open(tmp_path / "map.png") as file:
        assert (file.height, file.width, file.mode) == (53, 81, "RGB")


def test_attributions_are_complete(default_model: HuggingFaceModel) -> None:
    image = noise(53, 81)
    said = default_model.generate(image, QUESTION)
    heatmap = integrated_gradients_heatmap(default_model, image, QUESTION, said)
    assert heatmap.convergence_delta is not None
    assert heatmap.convergence_delta < 0.3


def test_the_same_question_gives_the_same_map(default_model: HuggingFaceModel) -> None:
    image = noise(53, 81)
    said = default_model.generate(image, QUESTION)
    maps = [HEATMAPS["attention"](default_model, image, QUESTION, said) for _ in range(2)]
    assert heatmap_sha256(maps[0]) == heatmap_sha256(maps[1])


class Linear:
    """A model whose likelihood of its answer is a weighted sum of what its processor makes of the image."""

    def __init__(self, model: HuggingFaceModel, weights: torch.Tensor) -> None:
        self.prompt, self.pixel_values = model.prompt, model.pixel_values
        self.token_grid, self.pixel_maps = model.token_grid, model.pixel_maps
        self._weights = weights

    def see(self, _encoded: Any, pixel_values: torch.Tensor) -> torch.Tensor:
        return pixel_values

    def answer_log_probabilities(self, _prompt: Any, _ids: Any, features: torch.Tensor) -> torch.Tensor:
        return (features * self._weights).sum((1, 2, 3))[:, None]


def test_integrated_gradients_find_the_only_cell_that_counts(default_model: HuggingFaceModel) -> None:
    weights = torch.zeros(3, 128, 128)
    weights[:, 32:48, 96:112] = 1
    pixels = np.zeros((200, 100))
    pixels[50:75, 75:88] = 1
    image = shown(pixels)
    said = default_model.generate(image, QUESTION)
    heatmap = integrated_gradients_heatmap(Linear(default_model, weights), image, QUESTION, said)  # pyright: ignore
    assert heatmap.convergence_delta == pytest.approx(0, abs=1e-3)
    row, column = centroid(heatmap.values)
    assert abs(row - 2.5 / 8 * 200) < 1
    assert abs(column - 6.5 / 8 * 100) < 1


@pytest.mark.parametrize("color", [False, True])
def test_an_overlay_leaves_the_image_alone_where_the_map_is_zero(*, color: bool) -> None:
    pixels = np.random.default_rng(3).random((20, 30, 3) if color else (20, 30))
    values = np.zeros((20, 30), dtype=np.float32)
    values[4:8, 5:9] = 1
    drawn = overlay(shown(pixels), values)
    elsewhere = values == 0
    assert drawn.shape == (20, 30, 3)
    assert (drawn[elsewhere] == to_uint8(shown(pixels))[elsewhere]).all()
    assert (drawn[~elsewhere] != to_uint8(shown(pixels))[~elsewhere]).any()
    assert (overlay(shown(pixels), values, opacity=0) == to_uint8(shown(pixels))).all()


def test_an_overlay_file_holds_the_overlay(tmp_path: Path) -> None:
    image, values = noise(20, 30), np.eye(20, 30, dtype=np.float32)
    save_overlay(image, values, tmp_path / "over.png")
    with PillowImage.open(tmp_path / "over.png") as file:
        assert (np.asarray(file) == overlay(image, values)).all()
