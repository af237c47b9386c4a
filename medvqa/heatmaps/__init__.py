"""Where an answer came from: one file a method, each a function of (model, image, question, generation)."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from medvqa.heatmaps.attention import attention_heatmap
from medvqa.heatmaps.integrated_gradients import integrated_gradients_heatmap
from medvqa.heatmaps.overlay import overlay, save_overlay
from medvqa.types import Heatmap, HeatmapMethod

HEATMAPS: Mapping[HeatmapMethod, Callable[[Any, Any, str, Any], Heatmap]] = MappingProxyType(
    {"attention": attention_heatmap, "integrated_gradients": integrated_gradients_heatmap}
)
"""Every method by name."""

__all__ = ["HEATMAPS", "attention_heatmap", "integrated_gradients_heatmap", "overlay", "save_overlay"]
