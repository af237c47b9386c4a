"""Stage 1: the vision tower learns to see, with two throw-away heads instead of a language model.

Labels and the cell that holds a simulated nodule reach the tower directly, at a quarter of the cost of
learning through words; the heads are then discarded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from medvqa.training.architecture import SIDE, STRIDE
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


class _Seeing(nn.Module):
    """The tower with its heads: label from the global token, cell of the nodule from the grid or "none"."""

    def __init__(self, vision: DINOv3ConvNextModel) -> None:
        super().__init__()
        hidden_size = vision.layer_norm.normalized_shape[0]
        self.vision = vision
        self.label = nn.Linear(hidden_size, len(LABELS))
        self.cell = nn.Linear(hidden_size, 1)
        self.none = nn.Linear(hidden_size, 1)

    def forward(self, pixel_values: Tensor, label: Tensor, cell: Tensor) -> Tensor:
        features = self.vision(pixel_values).last_hidden_state
        whole, grid = features[:, 0], features[:, 1:]
        cells = torch.cat([self.cell(grid)[..., 0], self.none(whole)], 1)
        labelled = functional.cross_entropy(
            self.label(whole), label, ignore_index=_IGNORED, label_smoothing=0.05
        )
        return labelled + 0.5 * functional.cross_entropy(cells, cell)


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
            "cell": torch.tensor([_cell(picture) for picture in pictures]),
        }

    train_steps(_Seeing(vision), draw, accelerator, course=course, progress=progress)


def pixel_values(pictures: list[Picture]) -> Tensor:
    """What the processor makes of pictures of its own size: (n, 3, SIDE, SIDE) in [-1, 1]."""
    stacked = torch.from_numpy(np.stack([picture.pixels for picture in pictures]))
    return (stacked * 2 - 1)[:, None].repeat(1, 3, 1, 1)


def _label(picture: Picture) -> int:
    finding = picture.content.finding
    return _IGNORED if finding is None else LABELS.index(finding)


def _cell(picture: Picture) -> int:
    nodule = picture.content.nodule
    if nodule is None:
        return _CELLS * _CELLS
    return int(nodule.row // STRIDE) * _CELLS + int(nodule.column // STRIDE)
