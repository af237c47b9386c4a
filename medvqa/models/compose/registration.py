"""Makes transformers' Auto classes know composed checkpoints; importing this module is enough."""

from __future__ import annotations

from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from medvqa.models.compose.composed import ComposedForConditionalGeneration, GatedForConditionalGeneration
from medvqa.models.compose.configuration import GATED_MODEL_TYPE, MODEL_TYPE, ComposedConfig, GatedConfig
from medvqa.models.compose.processing import ComposedProcessor

__all__ = ["GATED_MODEL_TYPE", "MODEL_TYPE"]

for _name, _config, _model in (
    (MODEL_TYPE, ComposedConfig, ComposedForConditionalGeneration),
    (GATED_MODEL_TYPE, GatedConfig, GatedForConditionalGeneration),
):
    AutoConfig.register(_name, _config, exist_ok=True)
    AutoModelForImageTextToText.register(_config, _model, exist_ok=True)
    AutoProcessor.register(_config, ComposedProcessor, exist_ok=True)
