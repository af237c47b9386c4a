"""The composed model: image tower, bridge, and a language model that is called as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM, GenerationMixin, PreTrainedModel
from transformers import initialization as init

from medvqa.models.compose.bridges import GatedBridge, ImageOutput, Projector, QueryBridge
from medvqa.models.compose.configuration import ComposedConfig, GatedConfig
from medvqa.models.compose.gates import (
    KEYWORD,
    GatedBlock,
    Media,
    media_of,
    open_layers,
    recall,
    remember,
)
from medvqa.models.compose.towers import patches_of

if TYPE_CHECKING:
    from collections.abc import Mapping


class ComposedForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """A causal language model of transformers that sees.

    Without an image, what comes in goes to the language model as it came, so that the answer is its own.
    """

    config: ComposedConfig
    config_class = ComposedConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    input_modalities = ["image", "text"]  # noqa: RUF012
    supports_gradient_checkpointing = True
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(
        self, config: ComposedConfig, *, language_model: Any = None, vision_tower: Any = None
    ) -> None:
        """Join what is given; what is not is made anew from `config`."""
        super().__init__(config)
        self.vision_tower = vision_tower or AutoModel.from_config(config.vision_config)
        self.language_model = language_model or AutoModelForCausalLM.from_config(config.text_config)
        self.bridge = self._build_bridge()
        if self.config.is_gated:
            open_layers(self.get_decoder())
        self.post_init()

    def get_input_embeddings(self) -> Any:
        """Of the words."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: Any) -> None:
        """Of the words."""
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> Any:
        """The language model's head."""
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: Any) -> None:
        """The language model's head."""
        self.language_model.set_output_embeddings(new_embeddings)

    def get_decoder(self) -> Any:
        """The language model without its head."""
        return self.language_model.get_decoder()

    def get_image_features(self, pixel_values: Tensor, **_: Any) -> ImageOutput:
        """Tokens of images, (images, channels, rows, columns)."""
        return self.bridge(self.get_patches(pixel_values))

    def get_patches(self, pixel_values: Tensor) -> Tensor:
        """What the bridge is given of images: (images, patches, width of the tower)."""
        seen = self.vision_tower(pixel_values=pixel_values.to(self.dtype), return_dict=True)
        return patches_of(seen.last_hidden_state, self.config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        mm_encoder_outputs: Mapping[str, Any] | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> Any:
        """Logits as the language model returns them, of words, (rows, tokens), with images among them."""
        image = (mm_encoder_outputs or {}).get("image")
        if image is None and pixel_values is not None:
            image = self.get_image_features(pixel_values)
        media = self._media(input_ids, image, past_key_values) if self.config.is_gated else None
        if image is not None and input_ids is not None:
            input_ids, inputs_embeds = None, self._embed(input_ids, image)
        output = self.language_model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            logits_to_keep=logits_to_keep,
            **({} if media is None else {KEYWORD: media}),
            **kwargs,
        )
        if media is not None and image is not None and getattr(output, "past_key_values", None) is not None:
            remember(output.past_key_values, media, layers=self._layers)
        return output

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, QueryBridge):
            init.normal_(module.queries, std=1.0)  # their layer norm comes first
        elif isinstance(module, GatedBlock):
            init.zeros_(module.look_gate)
            init.zeros_(module.feed_forward_gate)

    @property
    def _layers(self) -> int:
        return self._text.num_hidden_layers

    @property
    def _text(self) -> Any:
        return self.config.text_config

    def _build_bridge(self) -> Any:
        if self.config.is_gated:
            return GatedBridge(self.config, layers=self._layers, heads=self._text.num_attention_heads)
        return QueryBridge(self.config) if self.config.bridge == "qformer" else Projector(self.config)

    def _media(self, input_ids: Tensor | None, image: Any, cache: Any) -> Media | None:
        if image is None or input_ids is None:
            return recall(self.bridge.blocks, cache, layers=self._layers)
        places = input_ids == self.config.image_token_id
        return media_of(self.bridge.blocks, _stacked(image.pooler_output), places)

    def _embed(self, input_ids: Tensor, image: Any) -> Tensor:
        """Embeddings of words, with the tokens of images in their places."""
        places = input_ids == self.config.image_token_id
        words = self.get_input_embeddings()(input_ids.masked_fill(places, self.config.placeholder_id))
        if self.config.is_gated:
            return words
        features = _stacked(image.pooler_output)
        if int(places.sum()) != features.shape[0] * features.shape[1]:
            raise ValueError(
                f"{features.shape[0] * features.shape[1]} image tokens came for {int(places.sum())} places"
            )
        return words.masked_scatter(places[..., None], features.to(words.dtype))


class GatedForConditionalGeneration(ComposedForConditionalGeneration):
    """The same under the name that transformers gives to gated cross-attention."""

    config_class = GatedConfig


def _stacked(features: Any) -> Tensor:
    """Tokens of images, (images, tokens, width), one or a list of them."""
    return features if torch.is_tensor(features) else torch.stack(list(features))
