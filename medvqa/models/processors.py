"""Processors: how each family's is loaded, without the part that some have for videos, and called."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import CONFIG_MAPPING, PROCESSOR_MAPPING, AutoProcessor, BatchFeature

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from torch import Tensor


def read_processor(folder: Path, model_type: str) -> Any:
    """The checkpoint's processor as Pillow runs it everywhere; transformers' videos need torchvision."""
    kind: Any = PROCESSOR_MAPPING[CONFIG_MAPPING[model_type]]
    if "video_processor" in inspect.signature(kind.__init__).parameters:
        return without_video(kind).from_pretrained(folder, backend="pil")
    return AutoProcessor.from_pretrained(folder, backend="pil")


def without_video(kind: Any) -> Any:
    """A processor class that loads no processor of videos; make one with `video_processor=None`."""

    def attributes(_: Any) -> list[str]:
        return [name for name in kind.get_attributes() if name != "video_processor"]

    def arguments(cls: Any, *settings: Any, **options: Any) -> list[Any]:
        return [*super(images_only, cls)._get_arguments_from_pretrained(*settings, **options), None]

    # SmolVLM's asks for these even to render a prompt without a video.
    absent = SimpleNamespace(num_frames=1, fps=1)
    images_only: Any = type(
        kind.__name__,
        (kind,),
        {
            "get_attributes": classmethod(attributes),
            "_get_arguments_from_pretrained": classmethod(arguments),
            "video_processor": property(lambda _: absent, lambda _, __: None),
        },
    )
    return images_only


def process_turns(
    processor: Any, pictures: Sequence[Sequence[Picture]], prompts: Sequence[str], options: Mapping[str, Any]
) -> Any:
    """Inputs of prompts, each with its pictures, padded on the left."""
    return processor(
        text=list(prompts),
        images=[list(shown) for shown in pictures],
        return_tensors="pt",
        padding=True,
        **{"add_special_tokens": False, **options},
    )


def process_one_by_one(
    processor: Any, pictures: Sequence[Sequence[Picture]], prompts: Sequence[str], options: Mapping[str, Any]
) -> Any:
    """The same for a processor that would pad between a picture's tokens and the words."""
    rows = [
        process_turns(processor, [shown], [prompt], options)
        for shown, prompt in zip(pictures, prompts, strict=True)
    ]

    def padded(name: str) -> Tensor:
        values = [row[name][0] for row in rows]
        if values[0].ndim > 1:
            return torch.stack(values)
        fill = (processor.tokenizer.pad_token_id or 0) if name == "input_ids" else 0
        # A Q-Former counts its words from the left.
        side = "right" if name.startswith("qformer") else "left"
        return pad_sequence(values, batch_first=True, padding_value=fill, padding_side=side)

    return BatchFeature({name: padded(name) for name in rows[0]})


def process_interleaved(
    processor: Any, pictures: Sequence[Sequence[Picture]], prompts: Sequence[str], options: Mapping[str, Any]
) -> Any:
    """The same for a processor that wants pictures and words in the order in which they are read."""
    turns: list[list[Any]] = []
    for shown, prompt in zip(pictures, prompts, strict=True):
        first, *rest = prompt.split("<image>")
        pairs = [part for picture, words in zip(shown, rest, strict=True) for part in (picture, words)]
        turns.append([part for part in (first, *pairs) if part != ""])
    return processor(text=turns, return_tensors="pt", padding=True, **options)
