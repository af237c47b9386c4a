"""Where an answer came from: one file a method, each a function of (model, image, question, generation)."""

from collections.abc import Mapping
from types import MappingProxyType

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
from medvqa.types import HeatmapMethod

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

__all__ = [
    "ANSWER",
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
    "occlusion_heatmap",
    "overlay",
    "relevancy_heatmap",
    "rollout_heatmap",
    "save_overlay",
    "token_integrated_gradients_heatmap",
    "weigh_slices",
    "words_of",
]
