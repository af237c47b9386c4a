"""What a composed checkpoint is made of, as transformers keeps it in `config.json`."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

Bridge: TypeAlias = Literal["mlp", "qformer", "gated_cross_attention"]

MODEL_TYPE, GATED_MODEL_TYPE = "medvqa_composed", "medvqa_composed_gated"
"""transformers' `model_type` where image tokens stand among the words, and where layers look them up."""


@strict
class ComposedConfig(PreTrainedConfig):
    """Sub-configurations of any type that transformers knows, and what joins them."""

    model_type = MODEL_TYPE
    sub_configs_defaults = {  # noqa: RUF012
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="vit"),
    }

    text_config: dict[str, Any] | PreTrainedConfig | None = None
    vision_config: dict[str, Any] | PreTrainedConfig | None = None
    bridge: Bridge = "mlp"
    image_token_id: int = 32000
    """The language model never sees it, so that it may lie beyond its vocabulary."""
    placeholder_id: int = 0
    """Word that the language model reads where an image stands whose tokens stand elsewhere."""
    grid_rows: int = 14
    grid_columns: int = 14
    """Patches of the image tower."""
    global_tokens: int = 1
    """Tokens of the tower before those of the patches; they are left out."""
    vision_width: int = 768
    dropout: float = 0.1
    queries: int = 32
    """Image tokens of a Q-Former."""
    query_width: int = 768
    query_layers: int = 4
    cross_attention_every: int = 4
    """Decoder layers to a gated cross-attention block, which stands before the first of them."""
    tie_word_embeddings: bool = False
    """Of the whole, which has none; the language model's own settings hold for it."""

    @property
    def patches(self) -> int:
        """Tokens that the bridge is given of an image."""
        return self.grid_rows * self.grid_columns

    @property
    def image_tokens(self) -> int:
        """Places in the text that an image takes."""
        return {"mlp": self.patches, "qformer": self.queries, "gated_cross_attention": 1}[self.bridge]

    @property
    def is_gated(self) -> bool:
        """Whether words read the image between layers."""
        return self.bridge == "gated_cross_attention"

    @property
    def text_width(self) -> int:
        """Of the language model's embeddings."""
        text: Any = self.text_config
        return text.hidden_size


@strict
class GatedConfig(ComposedConfig):
    """The same for gated cross-attention, which heatmaps have to look for elsewhere."""

    model_type = GATED_MODEL_TYPE

    bridge: Bridge = "gated_cross_attention"
