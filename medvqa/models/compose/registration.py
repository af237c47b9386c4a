"""Makes transformers' Auto classes know composed checkpoints; importing this module is enough."""

from __future__ import annotations

from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from medvqa.models.compose.composed import ComposedForConditionalGeneration
from medvqa.models.compose.configuration import MODEL_TYPE, ComposedConfig
from medvqa.models.compose.processing import ComposedProcessor

AutoConfig.register(MODEL_TYPE, ComposedConfig, exist_ok=True)
AutoModelForImageTextToText.register(ComposedConfig, ComposedForConditionalGeneration, exist_ok=True)
AutoProcessor.register(ComposedConfig, ComposedProcessor, exist_ok=True)
