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


def follow_words(
    inputs: Mapping[str, Tensor], answer: Tensor, fill: Mapping[str, int], _: Any
) -> dict[str, Tensor]:
    """An answer, (rows, tokens), goes on where the prompt ends."""
    return continued(inputs, answer, fill)


def follow_by_decoder(
    inputs: Mapping[str, Tensor], answer: Tensor, _: Mapping[str, int], config: Any
) -> dict[str, Tensor]:
    """An encoder has read the prompt, and a decoder says the answer."""
    start = answer.new_full((len(answer), 1), config.text_config.decoder_start_token_id)
    return {**inputs, "decoder_input_ids": torch.cat([start, answer], 1)}


def read_among_words(module: Any, inputs: Mapping[str, Tensor], seen: Any, **options: Any) -> Any:
    """The image's tokens stand among the words."""
    return module(**inputs, mm_encoder_outputs={"image": seen}, use_cache=False, **options)


def read_queries(module: Any, inputs: Mapping[str, Tensor], seen: Any, **options: Any) -> Any:
    """The same for BLIP-2 and InstructBLIP, which insist on being told that there is nothing else to see."""
    wanted = inspect.signature(module.forward).parameters
    absent = {name: None for name in ("pixel_values", "qformer_input_ids") if name in wanted}
    return module(**inputs, **absent, mm_encoder_outputs={"image": seen}, use_cache=False, **options)


def read_tiles(module: Any, inputs: Mapping[str, Tensor], seen: Any, **options: Any) -> Any:
    """Mllama's words look the tiles up."""
    return module(**inputs, cross_attention_states=seen.pooler_output, use_cache=False, **options)


def read_resampled(module: Any, inputs: Mapping[str, Tensor], seen: Any, **options: Any) -> Any:
    """The words of IDEFICS look the image up."""
    name = "perceiver_embeddings" if module.config.use_resampler else "image_encoder_embeddings"
    return module(**inputs, **{name: seen.pooler_output[:, None]}, use_cache=False, **options)


def read_by_encoder(module: Any, inputs: Mapping[str, Tensor], seen: Any, **options: Any) -> Any:
    """Florence-2's encoder reads the image's tokens among the words."""
    input_ids, rest = inputs["input_ids"], {name: inputs[name] for name in inputs if name != "input_ids"}
    words = module.get_input_embeddings()(input_ids)
    here = (input_ids == module.config.image_token_id)[..., None]
    read = words.masked_scatter(here, seen.pooler_output.to(words))
    return module(**rest, inputs_embeds=read, use_cache=False, **options)
