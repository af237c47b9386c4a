"""Stage 1: the vision tower learns to see, with throw-away heads instead of a language model.

Labels and the cell that holds a simulated finding reach the tower directly, at a quarter of the cost of
learning through words; the heads are then discarded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from medvqa.training.architecture import SIDE, STRIDE
from medvqa.training.questions import SIMULATED, could_hide
from medvqa.training.schedule import train_steps

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import DINOv3ConvNextModel

    from medvqa.training.pictures import Picture, Sampler
    from medvqa.training.schedule import Course, Progress

LABELS = (
    *("glioma", "meningioma", "pituitary tumor", "no tumor"),
    *("pneumonia", "no finding"),
    *("benign", "malignant", "normal"),
)
_CELLS = SIDE // STRIDE
_IGNORED = -100


class Seeing(nn.Module):
    """The tower with its heads: the label from the global token; for every kind of simulated finding its cell
    from the grid, or "none" from the global token; and from every cell its own place, so that a decoder that
    finds something in a cell need not count tokens to say where."""

    def __init__(self, vision: DINOv3ConvNextModel) -> None:
        super().__init__()
        hidden_size = vision.layer_norm.normalized_shape[0]
        self.vision = vision
        self.label = nn.Linear(hidden_size, len(LABELS))
        self.cell = nn.Linear(hidden_size, len(SIMULATED))
        self.none = nn.Linear(hidden_size, len(SIMULATED))
        self.place = nn.Linear(hidden_size, 2 * _CELLS)

    def forward(self, pixel_values: Tensor, label: Tensor, cell: Tensor) -> Tensor:
        """The loss: label (n,) and cell (n, kinds) as numbers of classes, -100 where there is none."""
        labels, cells, places = self.heads(pixel_values)
        labelled = functional.cross_entropy(labels, label, ignore_index=_IGNORED, label_smoothing=0.1)
        found = functional.cross_entropy(cells, cell, ignore_index=_IGNORED)
        own = torch.cartesian_prod(*2 * (torch.arange(_CELLS, device=cell.device),))
        placed = functional.cross_entropy(places, own.expand(len(places), -1, -1).flatten(1))
        return labelled + 0.5 * found + 0.2 * placed

    def heads(self, pixel_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of labels (n, labels); of cells and then "none" for every kind (n, cells + 1, kinds); and of
        the row and the column of every cell (n, rows or columns, 2 * cells)."""
        features = self.vision(pixel_values).last_hidden_state
        whole, grid = features[:, 0], features[:, 1:]
        cells = torch.cat([self.cell(grid), self.none(whole)[:, None]], 1)
        return self.label(whole), cells, self.place(grid).unflatten(2, (2, _CELLS)).flatten(1, 2).mT


def learn_to_see(
    vision: DINOv3ConvNextModel,
    sampler: Sampler,
    accelerator: Accelerator,
    *,
    course: Course,
    progress: Progress,
) -> None:
    """Train `vision` in place on pictures from `sampler`."""

    def draw() -> dict[str, Tensor]:
        pictures = sampler.draw(course.batch_size)
        return {
            "pixel_values": pixel_values(pictures),
            "label": torch.tensor([_label(picture) for picture in pictures]),
            "cell": torch.tensor([_cells(picture) for picture in pictures]),
        }

    train_steps(Seeing(vision), draw, accelerator, course=course, progress=progress)


def pixel_values(pictures: list[Picture]) -> Tensor:
    """What the processor makes of pictures of its own size: (n, 3, SIDE, SIDE) in [-1, 1]."""
    stacked = torch.from_numpy(np.stack([picture.pixels for picture in pictures]))
    return (stacked * 2 - 1)[:, None].repeat(1, 3, 1, 1)


def _label(picture: Picture) -> int:
    finding = picture.content.finding
    return _IGNORED if finding is None else LABELS.index(finding)


def _cells(picture: Picture) -> list[int]:
    """Of every kind of simulated finding: its cell, or "none"; ignored where the disease may look like it."""
    content = picture.content
    cells = [_IGNORED if could_hide(content, kind) else _CELLS * _CELLS for kind in SIMULATED]
    if content.simulated is not None:
        row, column = int(content.simulated.row // STRIDE), int(content.simulated.column // STRIDE)
        cells[SIMULATED.index(content.simulated.kind)] = row * _CELLS + column
    return cells
