"""Each method finds the cell that a planted model reads; and a study's slice that an answer rests on."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tiny_models import noise, shown

from medvqa.heatmaps import (
    BASELINES,
    HEATMAPS,
    Contrast,
    attention_heatmap,
    integrated_gradients_heatmap,
    token_integrated_gradients_heatmap,
    weigh_slices,
)
from medvqa.heatmaps import paths as paths_module
from medvqa.heatmaps.paths import integrate
from medvqa.models.attention import Attention
from medvqa.models.base import Generation
from medvqa.models.calibration import Calibration
from medvqa.models.layouts import WHOLE, TokenGrid

if TYPE_CHECKING:
    from medvqa.models.huggingface import HuggingFaceModel

SIDE, CELLS = 64, 4
CELL = SIDE // CELLS
SAID = Generation(text="yes", tokens=(), token_ids=(7, 0))


class Planted:
    """A model whose image tokens are the brightness of each cell, and whose decoder reads one of them.

    Its likelihood is the square of the brightness of the cell at `reads`; "no" is as likely as the cell after
    it is bright. Attention goes to the cell read in the last layer, and evenly in the first.
    """

    calibration: Calibration | None = None

    def __init__(self, reads: int) -> None:
        self._reads = reads
        self._grid = TokenGrid(first=0, rows=CELLS, columns=CELLS, box=WHOLE)

    def tokens_of(self, _answer: str) -> tuple[int, ...]:
        return (8,)

    def text_of(self, token_ids: tuple[int, ...]) -> str:
        return "".join({7: "yes", 8: "no", 0: ""}[token_id] for token_id in token_ids)

    def pixel_values(self, image: Any) -> torch.Tensor:
        return torch.as_tensor(np.array(image.pixels))[None, None]

    def encode(self, image: Any, _question: str = "?") -> Any:
        pixel_values = self.pixel_values(image)
        features = self.see(None, pixel_values)
        return SimpleNamespace(
            inputs={"pixel_values": pixel_values}, features=features, shape=image.shape, prefix=None
        )

    def prompt(self, image: Any, _question: str) -> Any:
        return SimpleNamespace(image=self.encode(image))

    def see(self, _encoded: Any, pixel_values: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pixel_values, CELL).flatten(1)[..., None]

    def answer_log_probabilities(self, _prompt: Any, token_ids: tuple[int, ...], features: Any) -> Any:
        read = self._reads + (token_ids[0] == 8)
        return torch.stack([features[:, read, 0] ** 2 - 1, features[:, 0, 0] * 0], 1)

    def attentions(self, _prompt: Any, token_ids: tuple[int, ...], features: Any) -> Any:
        tokens, read = CELLS**2 + len(token_ids) + 1, self._reads + (token_ids[0] == 8)
        even = torch.ones(tokens, tokens).tril() + 0 * features.sum()
        pointed = torch.eye(tokens) * 0.1 + torch.nn.functional.one_hot(torch.tensor(read), tokens)
        layers = [(layer / layer.sum(-1, keepdim=True))[None, None] for layer in (even, pointed + 0 * even)]
        worth = layers[1][0, 0, -len(token_ids) - 1 : -1, read] + 0 * layers[0].sum()
        return worth[None], tuple(Attention(weights=layer) for layer in layers)

    def looks(self, prompt: Any, token_ids: tuple[int, ...]) -> Any:
        _, layers = self.attentions(prompt, token_ids, prompt.image.features)
        return tuple(layer.weights for layer in layers)

    def image_positions(self, _prompt: Any) -> torch.Tensor:
        return torch.arange(CELLS**2)

    def image_relevance(self, flow: Any, _prompt: Any) -> torch.Tensor:
        return flow["words"].mean(0)[: CELLS**2]

    def place(self, scores: torch.Tensor, _encoded: Any) -> torch.Tensor:
        return scores

    def token_grid(self, _encoded: Any) -> Any:
        return self._grid

    def token_grids(self, _encoded: Any) -> Any:
        return (self._grid,)

    def pixel_maps(self, attribution: torch.Tensor, _encoded: Any) -> Any:
        return [(attribution[0].sum(0), self._grid.box)]


def bright(cell: int, *, others: float = 0.2) -> Any:
    """A grey image with one bright cell."""
    pixels = np.full((SIDE, SIDE), others)
    row, column = divmod(cell, CELLS)
    pixels[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = 1
    return shown(pixels)


def highest(values: np.ndarray) -> int:
    row, column = np.argwhere(values == values.max()).mean(0)
    return int(row // CELL) * CELLS + int(column // CELL)


@pytest.mark.parametrize("method", HEATMAPS)
@pytest.mark.parametrize("cell", [0, 6, 13])
def test_a_method_finds_the_cell_that_counts(method: Any, cell: int) -> None:
    model: Any = Planted(cell)
    heatmap = HEATMAPS[method](model, bright(cell), "?", SAID)
    assert heatmap.method == method
    assert highest(heatmap.values) == cell
    assert heatmap.grid == (CELLS, CELLS)
    others = heatmap.values[CELL // 2 :: CELL, CELL // 2 :: CELL].flatten()
    assert np.delete(others, cell).max() < 0.7


@pytest.mark.parametrize("method", [name for name in HEATMAPS if name != "grad_cam"])
def test_a_contrast_leaves_out_what_speaks_for_the_other_answer(method: Any) -> None:
    """Both cells are bright; only one speaks for "yes" rather than "no"."""
    model: Any = Planted(5)
    image = bright(5)
    image = replace(image, pixels=np.maximum(image.pixels, bright(6).pixels))
    heatmap = HEATMAPS[method](model, image, "?", SAID, target=Contrast("no"))
    assert highest(heatmap.values) == 5
    assert heatmap.values[CELL + CELL // 2, 2 * CELL + CELL // 2] < 0.1


def test_calibrated_layers_alone_are_averaged() -> None:
    model: Any = Planted(9)
    plain = attention_heatmap(model, bright(9), "?", SAID)
    model.calibration = Calibration(weights_sha256="0" * 64, attention_layers=(1,))
    chosen = attention_heatmap(model, bright(9), "?", SAID)
    assert "layers 2" in chosen.explained
    assert chosen.values.sum() < plain.values.sum()
    model.calibration = Calibration(weights_sha256="0" * 64, attention_layers=(0,))
    assert attention_heatmap(model, bright(9), "?", SAID).values.min() > 0.9


@pytest.mark.parametrize("make", [integrated_gradients_heatmap, token_integrated_gradients_heatmap])
@pytest.mark.parametrize("baseline", BASELINES)
def test_each_baseline_is_named_and_complete(make: Any, baseline: Any) -> None:
    model: Any = Planted(6)
    heatmap = make(model, bright(6), "?", SAID, baseline=baseline)
    assert highest(heatmap.values) == 6
    assert BASELINES[baseline][1] in heatmap.explained
    assert heatmap.convergence_delta == pytest.approx(0, abs=1e-3)


def test_baselines_are_what_they_are_called() -> None:
    image = bright(6)
    mean, black, blurred = (BASELINES[name][0](image).pixels for name in ("mean", "black", "blurred"))
    assert mean == pytest.approx(image.pixels.mean(), abs=1e-6)
    assert not black.any()
    assert 0 < blurred.std() < image.pixels.std() / 1.5
    assert blurred.mean() == pytest.approx(image.pixels.mean(), abs=0.05)
    for made in (mean, black, blurred):
        assert (made.shape, made.dtype, made.flags.writeable) == (image.pixels.shape, np.float32, False)


def test_steps_are_added_until_the_attribution_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def steep(versions: torch.Tensor) -> torch.Tensor:
        seen.append(len(versions))
        return torch.sigmoid(400 * (versions.sum(1) - 0.513))

    monkeypatch.setattr(paths_module, "STEPS", (4, 64, 256))
    attributions, error = integrate(steep, torch.tensor([[0.6, 0.4]]), torch.zeros(1, 2))
    assert error <= paths_module.TOLERANCE
    assert attributions.sum().item() == pytest.approx(1, abs=0.05)
    assert sum(seen) > 4 + 64


def test_batches_fit_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []

    def score(versions: torch.Tensor) -> torch.Tensor:
        batches.append(len(versions))
        return (versions**2).sum(1)

    given = torch.ones(1, 1000)
    integrate(score, given, torch.zeros(1, 1000))
    assert max(batches) == 32
    batches.clear()
    monkeypatch.setattr(paths_module, "_MEMORY", 5 * given.nbytes)
    integrate(score, given, torch.zeros(1, 1000))
    assert max(batches) == 5


def test_the_slice_that_an_answer_rests_on_adds_most() -> None:
    model: Any = Planted(6)
    images = [bright(1), bright(11), bright(6), bright(2)]
    worth = weigh_slices(model, images, "?", SAID)
    assert worth.best == 2
    assert len(worth.values) == 4
    mean = float(images[2].pixels.mean())
    assert worth.values[2] == pytest.approx(1 - mean**2, abs=1e-4)
    assert worth.values[0] < 0
    assert weigh_slices(model, images, "?", SAID, target=Contrast("no")).best == 2


def test_slices_of_several_shapes_are_weighed_one_by_one_alike(default_model: HuggingFaceModel) -> None:
    images = [noise(seed=seed) for seed in range(10)] + [noise(53, 81, seed=4), noise(seed=11)]
    question = "Is there a tumor?"
    said = default_model.generate(images[0], question)
    together = weigh_slices(default_model, images, question, said).values
    alone = [weigh_slices(default_model, [image], question, said).values[0] for image in images]
    assert together == pytest.approx(alone, abs=1e-4)
