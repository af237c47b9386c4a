"""Where an answer came from: one file a method, each a function of (model, image, question, generation)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from medvqa.errors import ModelError
from medvqa.heatmaps.attention import attention_heatmap
from medvqa.heatmaps.baselines import BASELINES
from medvqa.heatmaps.grad_cam import grad_cam_heatmap
from medvqa.heatmaps.integrated_gradients import integrated_gradients_heatmap
from medvqa.heatmaps.making import MakeHeatmap
from medvqa.heatmaps.occlusion import occlusion_heatmap
from medvqa.heatmaps.overlay import overlay, save_overlay
from medvqa.heatmaps.relevancy import relevancy_heatmap
from medvqa.heatmaps.rollout import rollout_heatmap
from medvqa.heatmaps.slices import SliceWorth, weigh_slices
from medvqa.heatmaps.targets import ANSWER, ChosenWord, Contrast, Target, Word, words_of
from medvqa.heatmaps.token_integrated_gradients import token_integrated_gradients_heatmap
from medvqa.models.base import is_open
from medvqa.types import HeatmapMethod

if TYPE_CHECKING:
    from medvqa.models.base import Generation, VisionLanguageModel
    from medvqa.types import Heatmap, Image

HEATMAPS: Mapping[HeatmapMethod, MakeHeatmap] = MappingProxyType(
    {
        "attention": attention_heatmap,
        "rollout": rollout_heatmap,
        "relevancy": relevancy_heatmap,
        "integrated_gradients": integrated_gradients_heatmap,
        "token_integrated_gradients": token_integrated_gradients_heatmap,
        "occlusion": occlusion_heatmap,
        "grad_cam": grad_cam_heatmap,
    }
)
"""Every method by name."""

ASKING: tuple[HeatmapMethod, ...] = ("occlusion",)
"""Those that need nothing of a model but its answers."""


def methods_of(model: VisionLanguageModel) -> tuple[HeatmapMethod, ...]:
    """The methods by which a model can be explained."""
    return tuple(HEATMAPS) if is_open(model) else ASKING


def require_method(method: HeatmapMethod, model: VisionLanguageModel) -> None:
    """Refuse a method by which a model cannot be explained.

    Raises:
        ModelError: If so.
    """
    if method not in methods_of(model):
        raise ModelError(
            f"{method} needs the inside of a model, and of this one there are answers alone; explain"
            f" it by {', '.join(ASKING)}"
        )


def make_heatmap(
    method: HeatmapMethod,
    model: VisionLanguageModel,
    image: Image,
    question: str,
    generation: Generation,
    *,
    target: Target = ANSWER,
) -> Heatmap:
    """Explain an answer that any model gave.

    Raises:
        ModelError: As for `require_method`.
        QuestionError: If `target` does not fit the answer.
    """
    if is_open(model):
        return HEATMAPS[method](model, image, question, generation, target=target)
    require_method(method, model)
    return occlusion_heatmap(model, image, question, generation, target=target)


__all__ = [
    "ANSWER",
    "ASKING",
    "BASELINES",
    "HEATMAPS",
    "ChosenWord",
    "Contrast",
    "MakeHeatmap",
    "SliceWorth",
    "Target",
    "Word",
    "attention_heatmap",
    "grad_cam_heatmap",
    "integrated_gradients_heatmap",
    "make_heatmap",
    "methods_of",
    "occlusion_heatmap",
    "overlay",
    "relevancy_heatmap",
    "require_method",
    "rollout_heatmap",
    "save_overlay",
    "token_integrated_gradients_heatmap",
    "weigh_slices",
    "words_of",
]
