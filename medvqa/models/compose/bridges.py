"""What turns patches of an image tower into tokens for a language model: the trainable part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import Blip2QFormerConfig, Blip2QFormerModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from medvqa.models.compose.gates import GatedBlock

if TYPE_CHECKING:
    from medvqa.models.compose.configuration import ComposedConfig


@dataclass
class ImageOutput(BaseModelOutputWithPooling):
    """What `get_image_features` returns: `pooler_output` is (images, tokens, width of the words)."""

    query_attention: Tensor | None = None
    """Where each query of a Q-Former looks, (images, queries, patches), each row with the sum 1."""


class Projector(nn.Module):
    """Each patch becomes one token, by two linear layers (Liu et al. 2024, LLaVA-1.5)."""

    def __init__(self, config: ComposedConfig) -> None:
        super().__init__()
        self.enter = nn.Linear(config.vision_width, config.text_width)
        self.norm = nn.LayerNorm(config.text_width)
        self.dropout = nn.Dropout(config.dropout)
        self.leave = nn.Linear(config.text_width, config.text_width)

    def forward(self, patches: Tensor) -> ImageOutput:
        """Map (images, patches, width of the tower)."""
        hidden = self.dropout(nn.functional.gelu(self.norm(self.enter(patches))))
        return ImageOutput(last_hidden_state=patches, pooler_output=self.leave(hidden))


class QueryBridge(nn.Module):
    """Learned queries read the patches, and become the tokens (Li et al. 2023, BLIP-2)."""

    def __init__(self, config: ComposedConfig) -> None:
        super().__init__()
        kind: Any = Blip2QFormerConfig
        settings = kind(
            hidden_size=config.query_width,
            intermediate_size=4 * config.query_width,
            num_hidden_layers=config.query_layers,
            num_attention_heads=max(1, config.query_width // 64),
            cross_attention_frequency=1,
            encoder_hidden_size=config.vision_width,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
            attn_implementation="eager",  # fused kernels do not return the weights, which heatmaps need
        )
        self.queries = nn.Parameter(torch.zeros(1, config.queries, config.query_width))
        self.qformer = Blip2QFormerModel(settings)
        self.leave = nn.Linear(config.query_width, config.text_width)

    def forward(self, patches: Tensor) -> ImageOutput:
        """Map (images, patches, width of the tower)."""
        read = self.qformer(
            query_embeds=self.queries.expand(len(patches), -1, -1),
            encoder_hidden_states=patches,
            output_attentions=True,
        )
        # (layers, images, heads, queries, patches)
        weights = torch.stack(list(read.cross_attentions))
        return ImageOutput(
            last_hidden_state=patches,
            pooler_output=self.leave(read.last_hidden_state.to(patches.dtype)),
            query_attention=weights.mean((0, 2)),
        )


class GatedBridge(nn.Module):
    """The words read the patches between layers of the language model (Alayrac et al. 2022, Flamingo)."""

    def __init__(self, config: ComposedConfig, *, layers: int, heads: int) -> None:
        """`layers` and `heads` are those of the language model."""
        super().__init__()
        self.projector = Projector(config)
        self.norm = nn.LayerNorm(config.text_width)
        self.blocks = nn.ModuleDict(
            {
                str(layer): GatedBlock(config.text_width, heads=heads)
                for layer in range(0, layers, config.cross_attention_every)
            }
        )

    def forward(self, patches: Tensor) -> ImageOutput:
        """Map (images, patches, width of the tower); the tokens are what the blocks read."""
        output = self.projector(patches)
        output["pooler_output"] = self.norm(output.pooler_output)
        return output
