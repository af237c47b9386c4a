"""Which model families do which task when they are asked for it in their own words, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from medvqa.errors import TaskError
from medvqa.tasks import grounding
from medvqa.tasks.grounding import Located, Outlined
from medvqa.tasks.picture import Seeing, picture_of
from medvqa.tasks.results import Box, Boxes, Mask, Masks, TextRegion, TextRegions
from medvqa.tasks.side_markers import kind_of

if TYPE_CHECKING:
    from medvqa.models.base import Generation
    from medvqa.tasks.picture import Picture
    from medvqa.types import Image, ModelIdentity

PromptedTask: TypeAlias = Literal["detect", "ground", "segment", "ocr"]
Reading: TypeAlias = Callable[..., tuple[Located, ...]] | Callable[..., tuple[Outlined, ...]]
"""(text, asked=, size=) to places in the picture of that size; see `medvqa.tasks.grounding`."""


class Writing(Seeing, Protocol):
    """A model that writes where things are."""

    @property
    def identity(self) -> ModelIdentity:
        """What exactly answers."""
        ...

    def generate(self, image: Image, question: str) -> Generation:
        """Answer a prompt."""
        ...

    def raw_text_of(self, token_ids: tuple[int, ...]) -> str:
        """What tokens spell, special ones kept."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompted:
    """How one family is asked for one task, and how its answer is read."""

    prompt: str
    """`{text}` stands for what the asker looks for."""
    read: Reading
    unasked: str | None = None
    """The prompt where the asker names nothing; None where something must be named."""


_FLORENCE2: Mapping[PromptedTask, Prompted] = {
    "detect": Prompted(
        prompt="Locate {text} in the image.",
        unasked="Locate the objects with category name in the image.",
        read=grounding.read_florence_boxes,
    ),
    "ground": Prompted(
        prompt="Locate the phrases in the caption: {text}", read=grounding.read_florence_boxes
    ),
    "segment": Prompted(prompt="Locate {text} in the image with mask", read=grounding.read_florence_polygons),
    "ocr": Prompted(
        prompt="What is the text in the image, with regions?",
        unasked="What is the text in the image, with regions?",
        read=grounding.read_florence_lines,
    ),
}
"""The sentences that `Florence2Processor` puts in place of `<OPEN_VOCABULARY_DETECTION>`, `<OD>`,
`<CAPTION_TO_PHRASE_GROUNDING>`, `<REFERRING_EXPRESSION_SEGMENTATION>` and `<OCR_WITH_REGION>`."""


def _in_json(read: Reading) -> Mapping[PromptedTask, Prompted]:
    detect = (
        'Locate every instance that belongs to the following categories: "{text}". '
        "Report bbox coordinates in JSON format."
    )
    ground = "Locate {text}, and report its bbox coordinates in JSON format."
    return {"detect": Prompted(prompt=detect, read=read), "ground": Prompted(prompt=ground, read=read)}


PROMPTED: Mapping[str, Mapping[PromptedTask, Prompted]] = MappingProxyType(
    {
        "florence2": _FLORENCE2,
        "paligemma": {
            "detect": Prompted(prompt="detect {text}", read=grounding.read_paligemma_boxes),
            "ground": Prompted(prompt="detect {text}", read=grounding.read_paligemma_boxes),
        },
        "qwen2_5_vl": _in_json(grounding.read_qwen2_5_boxes),
        "qwen2_vl": {
            "detect": Prompted(prompt="Detect all {text} in the image.", read=grounding.read_qwen2_boxes),
            "ground": Prompted(
                prompt="Give the bounding box of {text} in the image.", read=grounding.read_qwen2_boxes
            ),
        },
        "qwen3_vl": _in_json(grounding.read_qwen3_boxes),
    }
)
"""By transformers' `model_type`. PaliGemma's outlines are left out: a second network, which no checkpoint of
transformers holds, decodes their tokens."""


def prompted_for(task: PromptedTask, model_type: str) -> Prompted | None:
    """How a family is asked for a task; None where it cannot do it."""
    return PROMPTED.get(model_type, {}).get(task)


def require_prompted(task: PromptedTask, model_type: str) -> Prompted:
    """As `prompted_for`.

    Raises:
        TaskError: Where the family cannot do it, with those that can.
    """
    found = prompted_for(task, model_type)
    if found is None:
        able = ", ".join(sorted(name for name, tasks in PROMPTED.items() if task in tasks))
        raise TaskError(
            f"a model of type {model_type} cannot {task}; models of these types can: {able} (name one with "
            "--model). What an answer in words rests on, a heatmap shows: ask with --heatmap"
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One task, as it goes to the model."""

    words: str
    asked: str
    """What the asker named, or nothing."""
    how: Prompted


def word_prompt(task: PromptedTask, text: str | None, model_type: str) -> Prompt:
    """Put the task in the family's words.

    Raises:
        TaskError: Where the family cannot do it, or needs to be told what to look for.
    """
    how = require_prompted(task, model_type)
    if text is None and how.unasked is None:
        raise TaskError(f"to {task}, a model of type {model_type} must be told what; name it after the study")
    words = how.prompt.format(text=text) if text is not None else how.unasked or how.prompt
    return Prompt(words=words, asked=text or "", how=how)


def read_boxes(model: Writing, image: Image, prompt: Prompt, generation: Generation) -> Boxes:
    """Boxes on the image's pixel matrix, of what the model wrote.

    Raises:
        FormatError: If it wrote anything else.
    """
    rows, columns = image.shape
    located = _read(model, image, prompt, generation)
    return Boxes(
        rows=rows,
        columns=columns,
        boxes=tuple(
            Box(label=one.label, top=top, left=left, bottom=bottom, right=right)
            for picture, one in located
            if isinstance(one, Located)
            for top, left, bottom, right in [picture.to_image(one.corners)]
        ),
    )


def read_masks(model: Writing, image: Image, prompt: Prompt, generation: Generation) -> Masks:
    """Masks on the image's pixel matrix; errors as of `read_boxes`."""
    rows, columns = image.shape
    return Masks(
        rows=rows,
        columns=columns,
        masks=tuple(
            Mask.of(picture.fill(one.rings), label=one.label)
            for picture, one in _read(model, image, prompt, generation)
            if isinstance(one, Outlined)
        ),
    )


def read_lines(model: Writing, image: Image, prompt: Prompt, generation: Generation) -> TextRegions:
    """Lines of text on the image's pixel matrix; errors as of `read_boxes`."""
    found = read_boxes(model, image, prompt, generation)
    regions: list[TextRegion] = []
    for box in sorted(found.boxes, key=lambda box: (box.top, box.left)):
        kind, side = kind_of(box.label)
        place = {name: getattr(box, name) for name in ("top", "left", "bottom", "right")}
        regions.append(TextRegion(text=box.label, kind=kind, side=side, **place))
    return TextRegions(
        rows=found.rows, columns=found.columns, regions=tuple(regions), read_by=model.identity.name
    )


def _read(
    model: Writing, image: Image, prompt: Prompt, generation: Generation
) -> list[tuple[Picture, Located | Outlined]]:
    picture = picture_of(model, image)
    text = model.raw_text_of(generation.token_ids)
    return [(picture, one) for one in prompt.how.read(text, asked=prompt.asked, size=picture.size)]
