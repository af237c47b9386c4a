"""What all methods have in common: the protocol, and the heatmap around the values."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from medvqa.heatmaps.overlay import save_overlay
from medvqa.heatmaps.targets import ANSWER, Target
from medvqa.types import Heatmap

if TYPE_CHECKING:
    from medvqa.models.base import Generation
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import HeatmapMethod, Image, Pixels


class MakeHeatmap(Protocol):
    """A heatmap method."""

    def __call__(
        self,
        model: HuggingFaceModel,
        image: Image,
        question: str,
        generation: Generation,
        *,
        target: Target = ANSWER,
    ) -> Heatmap:
        """Explain an answer that `model` gave to `question` about `image`.

        Raises:
            QuestionError: If `target` does not fit the answer.
        """
        ...


def heatmap_of(
    method: HeatmapMethod,
    values: Pixels,
    image: Image,
    *,
    grid: tuple[int, int],
    explained: str,
    convergence_delta: float | None = None,
) -> Heatmap:
    """Painted values, shape (rows, columns) of `image`, with what is known about them."""
    return Heatmap(
        method=method,
        values=values,
        grid=grid,
        explained=explained,
        convergence_delta=convergence_delta,
        draw=partial(save_overlay, image, values),
    )
