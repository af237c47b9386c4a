"""The ways in which families see an image and hand it to their decoder."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from medvqa.models.encoding import continued

if TYPE_CHECKING:
    from torch import Tensor


def see_features(core: Any, inputs: Mapping[str, Tensor]) -> Any:
    """As `get_image_features` of transformers."""
    return core.get_image_features(**inputs, return_dict=True)


def see_tiles(core: Any, inputs: Mapping[str, Tensor]) -> Any:
    """Mllama's tower, whose tokens its decoder looks up: those of all tiles, one after the other."""
    states = core.multi_modal_projector(core.vision_model(**inputs).last_hidden_state)
    return BaseModelOutputWithPooling(pooler_output=states.flatten(1, 3))


def see_resampled(core: Any, inputs: Mapping[str, Tensor]) -> Any:
    """The tower of IDEFICS, and the resampler behind it where there is one."""
    pixel_values = inputs["pixel_values"]
    patches = core.vision_model(pixel_values=pixel_values.flatten(0, 1)).last_hidden_state
    states = core.perceiver_resampler(patches) if core.config.use_resampler else patches
    return BaseModelOutputWithPooling(
        last_hidden_state=patches, pooler_output=states.reshape(len(pixel_values), -1, states.shape[-1])
    )


def read_among_words(
    module: Any, inputs: Mapping[str, Tensor], answer: Tensor, seen: Any, fill: Mapping[str, int], **options: Any
) -> Any:
    """The image's tokens stand among the words, and the answer follows."""
    return module(
        **continued(inputs, answer, fill), mm_encoder_outputs={"image": seen}, use_cache=False, **options
    )


def read_queries(
    module: Any, inputs: Mapping[str, Tensor], answer: Tensor, seen: Any, fill: Mapping[str, int], **options: Any
) -> Any:
    """The same for BLIP-2 and InstructBLIP, which insist on being told that there is nothing else to see."""
    absent = {name: None for name in ("pixel_values", "qformer_input_ids") if name in _parameters(module)}
    return read_among_words(module, {**inputs, **absent}, answer, seen, fill, **options)


def _parameters(module: Any) -> Mapping[str, Any]:
    return inspect.signature(module.forward).parameters


def read_tiles(
    module: Any, inputs: Mapping[str, Tensor], answer: Tensor, seen: Any, fill: Mapping[str, int], **options: Any
) -> Any:
    """Mllama's words look the tiles up."""
    longer = continued(inputs, answer, fill)
    return module(**longer, cross_attention_states=seen.pooler_output, use_cache=False, **options)


def read_resampled(
    module: Any, inputs: Mapping[str, Tensor], answer: Tensor, seen: Any, fill: Mapping[str, int], **options: Any
) -> Any:
    """The words of IDEFICS look the image up."""
    name = "perceiver_embeddings" if module.config.use_resampler else "image_encoder_embeddings"
    handed = {name: seen.pooler_output[:, None]}
    return module(**continued(inputs, answer, fill), **handed, use_cache=False, **options)


def read_by_encoder(
    module: Any, inputs: Mapping[str, Tensor], answer: Tensor, seen: Any, _: Mapping[str, int], **options: Any
) -> Any:
    """An encoder reads image and question, a decoder the answer."""
    words = module.get_input_embeddings()(inputs["input_ids"])
    here = (inputs["input_ids"] == module.config.image_token_id)[..., None]
    start = answer.new_full((len(answer), 1), module.config.text_config.decoder_start_token_id)
    return module(
        inputs_embeds=words.masked_scatter(here, seen.pooler_output.to(words)),
        attention_mask=inputs["attention_mask"],
        decoder_input_ids=torch.cat([start, answer], 1),
        use_cache=False,
        **options,
    )
