"""Loading a processor, without the part that some have for videos."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from transformers import CONFIG_MAPPING, PROCESSOR_MAPPING, AutoProcessor


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
