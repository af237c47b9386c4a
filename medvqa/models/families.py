"""What differs between model families, as data.

Geometry has one owner a step. `imaging` keeps the pixel matrix, the family's processor resizes, crops, pads
or tiles it, and the record here says which part of the image each result covers and how its tokens tile that
part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from medvqa.errors import ModelError
from medvqa.models import attention, layouts, processors, queries, reading, tiles
from medvqa.models.compose import places, registration
from medvqa.models.layouts import Box, TokenGrid

if TYPE_CHECKING:
    from torch import Tensor

    from medvqa.models.attention import Attention
    from medvqa.models.encoding import EncodedImage
    from medvqa.models.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One record a family."""

    grids: Callable[[Any, EncodedImage], tuple[TokenGrid, ...]] = layouts.one_grid
    """(processor, image) to the grids; first the one that covers most of the image."""
    pixel_maps: Callable[[Tensor, Any, EncodedImage], list[tuple[Tensor, Box]]] = layouts.one_picture
    """(attribution shaped like the pixel values, processor, image) to maps, each with what it covers.

    Channels are summed. The first map is that of the first grid, and all have as many pixels a token.
    """
    looks: Callable[[Network, EncodedImage], Tensor | None] | None = None
    """Where image tokens look that have no place, (tokens, patches); the grids are then of patches."""
    process: Callable[..., Any] = processors.process_turns
    """(processor, pictures of each prompt, prompts, options) to the model's inputs."""
    padding_side: Literal["left", "right"] = "left"
    """Where shorter prompts of a batch are padded: a decoder goes on at the right, an encoder counts from the
    left."""
    see: Callable[[Any, Mapping[str, Tensor]], Any] = reading.see_features
    """(network's core, inputs) to an output whose `pooler_output` is the image's tokens."""
    seen_inputs: frozenset[str] | None = None
    """Inputs of `see`; None for those that `get_image_features` takes."""
    follow: Callable[..., dict[str, Tensor]] = reading.follow_words
    """(inputs, answer, `answer_fill`, configuration) to the inputs of prompt and answer."""
    read: Callable[..., Any] = reading.read_among_words
    """(network, inputs of prompt and answer, what was seen, options) to the decoder's output."""
    attend: Callable[[Callable[..., Any], Any], tuple[Any, tuple[Attention, ...]]] = attention.among_words
    """(reading with further options, network) to the output, with the attention of each layer."""
    looked_up: bool = False
    """Whether the image's tokens are the memory that words look up, and not words themselves."""
    generates_from_pixels: bool = False
    """Whether `generate` takes no image that was seen before."""
    several_images: bool = True
    """Whether a prompt may hold more than one."""
    sees_question: bool = False
    """Whether the image's tokens depend on the question."""
    loose: bool = False
    """Whether the tower takes pixel values without a batch dimension: one image's after the other's."""
    also_read: frozenset[str] = frozenset()
    """Inputs of the vision tower that the decoder wants as well."""
    shares_prefix: bool = True
    """Whether the tokens up to the end of the image are read alike, whatever question follows."""
    remembered: str | None = None
    """What the model keeps in an attribute, beside its cache, of the tokens that it has read."""
    answer_fill: Mapping[str, int] = field(default_factory=lambda: {"attention_mask": 1})
    """What further tokens have in the decoder's other inputs, where that is not 0."""
    processing: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Options of the processor."""
    trained_whole: tuple[str, ...] = ()
    """Modules that tuning trains themselves, where other layers get low-rank matrices."""
    template: str | None = None
    """Chat template of checkpoints that have none: as their authors ask questions."""


def _template(question: str, *, image: str = "", answer: str = "") -> str:
    """Of Jinja: turns of a person, an image and `question`, and the model's answers."""
    return (
        "{% for m in messages %}{% if m['role'] == 'user' %}{% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}"
        + image
        + "{% else %}"
        + question
        + "{% endif %}{% endfor %}{% else %}{{ m['content'][0]['text'] }}"
        + answer
        + "{% endif %}{% endfor %}"
    )


_SQUARE = Family()
_QWEN = Family(
    grids=layouts.qwen_grid,
    pixel_maps=layouts.qwen_picture,
    loose=True,
    also_read=frozenset({"image_grid_thw"}),
    remembered="rope_deltas",
)
_IDEFICS3 = Family(
    grids=partial(tiles.tile_grids, tiles.idefics_boxes),
    pixel_maps=partial(tiles.tile_pictures, tiles.idefics_boxes),
)
_THUMBNAIL = Family(
    grids=partial(tiles.tile_grids, tiles.internvl_boxes),
    pixel_maps=partial(tiles.tile_pictures, tiles.internvl_boxes),
    loose=True,
)
_QFORMER = partial(
    Family,
    grids=layouts.patch_grid,
    looks=queries.qformer_looks,
    process=processors.process_one_by_one,
    read=reading.read_queries,
    attend=attention.in_language_model,
    several_images=False,
    generates_from_pixels=True,
    shares_prefix=False,
    processing={"add_special_tokens": True},
)

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "aya_vision": _THUMBNAIL,
        # https://huggingface.co/Salesforce/blip2-opt-2.7b
        "blip-2": _QFORMER(template=_template("Question: {{ c['text'] }} Answer:")),
        "deepseek_vl": _SQUARE,
        # Its encoder reads the image and one of its task prompts; a bare question is no such.
        "florence2": Family(
            grids=layouts.florence_grid,
            follow=reading.follow_by_decoder,
            read=reading.read_by_encoder,
            padding_side="right",
            attend=attention.of_encoder_and_decoder,
            several_images=False,
            looked_up=True,
            generates_from_pixels=True,
            shares_prefix=False,
            template=_template("{{ c['text'] }}"),
        ),
        # Crops that zoom into long images come with words between them, and tell of no place.
        "gemma3": Family(processing={"do_pan_and_scan": False}),
        # The open Flamingo: https://huggingface.co/HuggingFaceM4/idefics-9b-instruct
        "idefics": Family(
            grids=layouts.patch_grid,
            looks=queries.perceiver_looks,
            pixel_maps=layouts.first_picture,
            process=processors.process_interleaved,
            see=reading.see_resampled,
            seen_inputs=frozenset({"pixel_values"}),
            read=reading.read_resampled,
            attend=attention.before_layers,
            looked_up=True,
            generates_from_pixels=True,
            shares_prefix=False,
            template=_template(
                "User: {{ c['text'] }}<end_of_utterance>\nAssistant:",
                image="<image>",
                answer="<end_of_utterance>\n",
            ),
        ),
        "idefics2": Family(
            grids=tiles.crop_grids, pixel_maps=tiles.crop_pictures, looks=queries.latent_looks
        ),
        "idefics3": _IDEFICS3,
        # https://huggingface.co/Salesforce/instructblip-vicuna-7b
        "instructblip": _QFORMER(sees_question=True, template=_template("{{ c['text'] }}")),
        "internvl": _THUMBNAIL,
        "llava": Family(grids=layouts.llava_grid),
        "llava_next": Family(grids=tiles.llava_next_grids, pixel_maps=tiles.canvas_pictures),
        "llava_onevision": Family(grids=tiles.llava_onevision_grids, pixel_maps=tiles.canvas_pictures),
        "mllama": Family(
            grids=tiles.mllama_grid,
            pixel_maps=tiles.mllama_picture,
            see=reading.see_tiles,
            seen_inputs=frozenset({"pixel_values", "aspect_ratio_ids", "aspect_ratio_mask"}),
            read=reading.read_tiles,
            attend=attention.by_layer,
            looked_up=True,
            generates_from_pixels=True,
            shares_prefix=False,
        ),
        registration.MODEL_TYPE: Family(
            grids=places.patch_grid, looks=places.query_looks, trained_whole=("bridge",)
        ),
        registration.GATED_MODEL_TYPE: Family(
            grids=places.patch_grid,
            attend=places.gated_attention,
            looked_up=True,
            trained_whole=("bridge",),
        ),
        # The prompt is read in both directions, so that the image's tokens see the question.
        "paligemma": Family(
            shares_prefix=False,
            answer_fill={"attention_mask": 1, "token_type_ids": 1},
            # https://huggingface.co/google/paligemma-3b-mix-224, whose tasks begin with their name.
            template=_template(
                "{% if c['text'].split(' ')[0] not in ('caption', 'detect', 'segment', 'ocr') %}answer en "
                "{% endif %}{{ c['text'] }}",
                image="<image>",
            ),
        ),
        "qwen2_5_vl": _QWEN,
        "qwen2_vl": _QWEN,
        "qwen3_vl": _QWEN,
        "smolvlm": _IDEFICS3,
    }
)
"""By transformers' `model_type`."""


def family_of(model_type: str) -> Family:
    """The record of `model_type`.

    Raises:
        ModelError: If there is none.
    """
    family = FAMILIES.get(model_type)
    if family is None:
        known = ", ".join(sorted(FAMILIES))
        raise ModelError(f"no record for model family {model_type!r}; the families served so far are {known}")
    return family
