"""A heatmap is good where it marks what the answer hangs on, and is not drawn where it does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from tiny_models import shown, write_llava

from medvqa.checks import randomisation
from medvqa.checks.faithfulness import FRACTIONS, RANDOM_MAPS, grade_heatmap, with_grade
from medvqa.checks.hiding import cut_cells, find_edges
from medvqa.checks.randomisation import randomise, shuffle_weights
from medvqa.heatmaps import HEATMAPS, Contrast, overlay
from medvqa.models.base import Generation
from medvqa.models.calibration import Calibration
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.loading import load_model
from medvqa.types import Heatmap, Image, Token

QUESTION = "Is there a nodule?"
YES = Generation(text="yes", tokens=(Token(text="yes", log_probability=0.0),), token_ids=(7,))
CELL = (2, 5)
"""Row and column of the only cell that counts, of 8 x 8."""


class Planted:
    """A model that says yes the surer the brighter one cell of the image is, and looks nowhere else."""

    def __init__(
        self, model: HuggingFaceModel, *, nats: float = 10.0, outlasting: float | None = None
    ) -> None:
        self.prompt, self.encode, self.token_grid = model.prompt, model.encode, model.token_grid
        self.pixel_values = model.pixel_values
        self._nats = nats
        self.calibration = Calibration(
            weights_sha256="", randomisation={} if outlasting is None else {"attention": outlasting}
        )

    def see(self, _encoded: Any, pixel_values: torch.Tensor) -> torch.Tensor:
        return pixel_values

    def answer_log_probabilities(self, _prompt: Any, _ids: Any, features: torch.Tensor) -> torch.Tensor:
        row, column = (16 * place for place in CELL)
        cell = features[:, :, row : row + 16, column : column + 16]
        return torch.nn.functional.logsigmoid(self._nats * (cell.mean((1, 2, 3)) + 0.3))[:, None]


def image_with_finding() -> Image:
    """Faint texture, something bright in the cell that counts, and in the lower half stripes for edges."""
    pixels = 0.2 * np.random.default_rng(5).random((160, 80))
    pixels[100:] += 0.5 * (np.arange(80) % 8 < 4)
    pixels[40:60, 50:60] = 0.6
    return shown(pixels)


def marking(image: Image, row: int, column: int) -> Heatmap:
    """A map of one cell of 8 x 8, with a soft rim."""
    rows, columns = image.shape
    down, right = np.mgrid[:rows, :columns] + 0.5
    squared = (8 * down / rows - row - 0.5) ** 2 + (8 * right / columns - column - 0.5) ** 2
    return mapping(image, np.exp(-squared))


def mapping(image: Image, values: Any) -> Heatmap:
    def draw(path: Path) -> None:
        PillowImage.fromarray(overlay(image, heatmap.values)).save(path)

    values = np.asarray(values, dtype=np.float32)
    heatmap = Heatmap(method="attention", values=values, grid=(8, 8), explained="", draw=draw)
    return heatmap


def graded(model: Any, heatmap: Heatmap, **options: Any) -> Any:
    return grade_heatmap(model, image_with_finding(), QUESTION, YES, heatmap, **options)


def test_a_map_of_what_counts_is_good(default_model: HuggingFaceModel) -> None:
    grade = graded(Planted(default_model), marking(image_with_finding(), *CELL))
    assert grade.level == "good"
    assert grade.beaten >= 0.95
    assert grade.fractions == FRACTIONS
    for curves in (grade.curves, grade.random, grade.edges):
        assert len(curves.deletion) == len(curves.insertion) == len(FRACTIONS)
        assert curves.deletion[0] == curves.insertion[-1]
        assert curves.deletion[-1] == curves.insertion[0]
    assert grade.curves.deletion_auc < grade.random.deletion_auc
    assert grade.curves.insertion_auc > grade.random.insertion_auc
    assert grade.infidelity is not None
    assert 0 <= grade.infidelity < 0.5
    assert grade.randomisation is None


@pytest.mark.parametrize("cell", [(6, 1), (0, 0), (7, 7), (2, 1)])
def test_a_map_of_another_place_is_chance(default_model: HuggingFaceModel, cell: tuple[int, int]) -> None:
    grade = graded(Planted(default_model), marking(image_with_finding(), *cell))
    assert grade.level == "chance"
    assert grade.beaten < 0.95
    assert "is not drawn" in grade.reason


def test_an_empty_map_is_chance(default_model: HuggingFaceModel) -> None:
    grade = graded(Planted(default_model), mapping(image_with_finding(), np.zeros((160, 80))))
    assert (grade.level, grade.beaten) == ("chance", 0)


def test_no_map_explains_an_answer_that_no_cell_changes(default_model: HuggingFaceModel) -> None:
    grade = graded(Planted(default_model, nats=0.01), marking(image_with_finding(), *CELL))
    assert grade.level == "chance"
    assert "hardly changes" in grade.reason


def test_a_map_that_is_the_edges_is_weak(default_model: HuggingFaceModel) -> None:
    pixels = np.zeros((160, 80))
    pixels[40:60, 50:60] = 0.6
    image = shown(pixels)
    heatmap = mapping(image, find_edges(image))
    grade = grade_heatmap(Planted(default_model), image, QUESTION, YES, heatmap)  # pyright: ignore
    assert grade.level == "weak"
    assert "edges" in grade.reason


@pytest.mark.parametrize(("outlasting", "level"), [(0.81, "weak"), (0.8, "good"), (-0.9, "good")])
def test_a_method_that_outlasts_random_weights_is_weak(
    default_model: HuggingFaceModel, outlasting: float, level: str
) -> None:
    grade = graded(Planted(default_model, outlasting=outlasting), marking(image_with_finding(), *CELL))
    assert (grade.level, grade.randomisation) == (level, outlasting)


def test_the_same_map_gets_the_same_grade(default_model: HuggingFaceModel) -> None:
    heatmap = marking(image_with_finding(), *CELL)
    first, again = (graded(Planted(default_model), heatmap) for _ in range(2))
    assert first == again
    assert graded(Planted(default_model), heatmap, seed=1).random != first.random


def test_a_chance_map_draws_its_reason(default_model: HuggingFaceModel, tmp_path: Path) -> None:
    image = image_with_finding()
    for name, cell in (("good", CELL), ("chance", (6, 1))):
        heatmap = marking(image, *cell)
        given = with_grade(Planted(default_model), image, QUESTION, YES, heatmap)  # pyright: ignore
        assert given.grade is not None
        assert given.grade.level == name
        given.save(tmp_path / f"{name}.png")
    with PillowImage.open(tmp_path / "good.png") as file:
        assert (np.asarray(file) == overlay(image, marking(image, *CELL).values)).all()
    with PillowImage.open(tmp_path / "chance.png") as file:
        drawn = np.asarray(file)
    assert drawn.shape[0] > 160
    top, left = 0, (drawn.shape[1] - 80) // 2
    bare = drawn[top : top + 160, left : left + 80]
    assert np.ptp(bare.astype(int), axis=2).max() == 0
    assert drawn[160:].max() == 255


@pytest.mark.slow
def test_a_real_answer_s_map_is_graded(default_model: HuggingFaceModel) -> None:
    image = image_with_finding()
    said = default_model.generate(image, QUESTION)
    target = Contrast("there is a large tumor")
    heatmap = HEATMAPS["attention"](default_model, image, QUESTION, said)
    for options in ({}, {"target": target}):
        grade = grade_heatmap(default_model, image, QUESTION, said, heatmap, **options)
        assert 0 <= grade.beaten <= 1
        assert all(0 <= value <= 1 for value in (*grade.curves.deletion, *grade.curves.insertion))


def test_hiding_a_cell_blurs_that_cell_alone(default_model: HuggingFaceModel) -> None:
    cells = cut_cells(default_model, image_with_finding())
    assert cells.shape == (8, 8)
    mask = np.ones((3, 8, 8), dtype=bool)
    mask[1][CELL] = False
    mask[2] = False
    whole, one, nothing = cells.show(mask)
    assert torch.equal(whole, cells.pixels[0])
    assert torch.allclose(nothing, cells.blurred[0], atol=1e-5)
    changed = (one != whole).any(0).nonzero()
    assert changed.amin(0).tolist() >= [2 * 16 - 2, 5 * 16 - 2]
    assert changed.amax(0).tolist() <= [3 * 16 + 1, 6 * 16 + 1]


def test_cells_of_a_cropped_image_are_those_inside_the_crop(tmp_path: Path) -> None:
    model = load_model(write_llava(tmp_path / "llava"))
    image = shown(np.random.default_rng(2).random((180, 90)))
    assert torch.equal(model.pixel_values(image), model.encode(image).inputs["pixel_values"])
    cells = cut_cells(model, image)
    assert cells.shape == (4, 4)
    assert (cells.edges[0][0], cells.edges[0][-1]) == (45, 135)
    nothing = cells.show(np.zeros((1, 4, 4), dtype=bool))
    # Bicubic resizing mixes in a little of what lies beyond the crop.
    assert (nothing - cells.blurred).abs().mean() < 0.02 * (cells.pixels - cells.blurred).abs().mean()


def test_random_maps_are_other_moves_of_the_map() -> None:
    from medvqa.checks.faithfulness import _elsewhere  # pyright: ignore[reportPrivateUsage]

    values = np.arange(64.0).reshape(8, 8)
    moved = _elsewhere(values, np.random.default_rng(0))
    assert len(moved) == RANDOM_MAPS
    assert len({one.tobytes() for one in (*moved, values)}) == RANDOM_MAPS + 1
    assert all(sorted(one.ravel()) == sorted(values.ravel()) for one in moved)


def test_only_the_end_of_a_model_is_shuffled() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(8, 8, bias=False), torch.nn.Linear(8, 8, bias=False))
    before = [tensor.clone() for tensor in module.parameters()]
    shuffle_weights(module, share=0.5, seed=0)
    first, last = module.parameters()
    assert torch.equal(first, before[0])
    assert not torch.equal(last, before[1])
    assert torch.equal(last.flatten().sort().values, before[1].flatten().sort().values)


@pytest.mark.slow
def test_a_method_that_draws_the_image_outlasts_random_weights(
    default_model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw_image(_model: Any, image: Image, _question: str, _said: Any) -> Heatmap:
        return mapping(image, image.pixels)

    methods = MappingProxyType({"grad_cam": draw_image, "attention": HEATMAPS["attention"]})
    monkeypatch.setattr(randomisation, "HEATMAPS", methods)
    image = image_with_finding()
    said = default_model.generate(image, QUESTION)
    drawn, attention = randomise(default_model, [(image, QUESTION)], ["grad_cam", "attention"])
    assert drawn.correlations == pytest.approx((1, 1, 1, 1))
    assert abs(attention.outlasting) < 0.8
    assert default_model.generate(replace(image), QUESTION) == said
