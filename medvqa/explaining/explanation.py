"""Asking once, and explaining by every method."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medvqa.assistant import Assistant, choose_number
from medvqa.errors import DicomError
from medvqa.explaining.picture import save_picture
from medvqa.heatmaps import methods_of
from medvqa.heatmaps.slices import weigh_slices
from medvqa.heatmaps.targets import ANSWER
from medvqa.models.base import is_open

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from medvqa.heatmaps.targets import Target
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import Answer, Heatmap, HeatmapMethod, Image, Study

MOST_SLICES = 32
"""Images of a study that are weighed, spread evenly where it has more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """One method's heatmap, graded."""

    heatmap: Heatmap
    seconds: float
    """To map, grade and record it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """What images of a study add to the answer about one of them."""

    numbers: tuple[int, ...]
    """Of the images, from 1."""
    values: tuple[float, ...]
    """In nats, one an image; see `explained`."""
    explained: str
    """The scalar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """An answer with the heatmaps of several methods."""

    answer: Answer
    image: Image
    """The one that was asked about."""
    image_number: int
    maps: tuple[Mapped, ...]
    slices: Slices | None
    """None for a study of one image, and where the model is on a server."""

    def save(self, path: str | Path) -> None:
        """Write one picture of all of it as a PNG file."""
        save_picture(self, Path(path))


def explain(
    study: Study | str | Path,
    question: str,
    *,
    assistant: Assistant | None = None,
    image_number: int | None = None,
    methods: Sequence[HeatmapMethod] | None = None,
    target: Target = ANSWER,
) -> Explanation:
    """Answer a question, and explain the answer by several methods; each is graded and recorded.

    Args:
        study: From `read_study`, or where to read it.
        question: In plain words.
        assistant: What answers; a new one, of the default model, if it is left out.
        image_number: Which image, from 1; by default the middle one.
        methods: Which heatmaps, by default all that there are for the model.
        target: What they explain: the whole answer, one word of it, or why it rather than another.

    Raises:
        MedvqaError: As `Assistant.open_study`, `Assistant.ask` and `Assistant.explain` do.
    """
    assistant = assistant or Assistant()
    opened = assistant.open_study(study) if isinstance(study, str | Path) else study
    answer = assistant.ask(opened, question, image_number=image_number)
    number, _ = choose_number(len(opened.images), image_number)
    image = opened.images[number - 1]
    maps: list[Mapped] = []
    for method in methods_of(assistant.model) if methods is None else methods:
        started = time.perf_counter()
        heatmap = assistant.explain(answer, opened, image, method, target=target)
        maps.append(Mapped(heatmap=heatmap, seconds=time.perf_counter() - started))
    model, slices = assistant.model, None
    if len(opened.images) > 1 and is_open(model):
        slices = _weigh(model, opened, image, answer.question, target)
    return Explanation(answer=answer, image=image, image_number=number, maps=tuple(maps), slices=slices)


def _weigh(model: HuggingFaceModel, study: Study, image: Image, question: str, target: Target) -> Slices:
    decoded = dict(_decode(study))
    generation = model.generate(image, question)
    weighed = weigh_slices(model, [*decoded.values()], question, generation, target=target)
    return Slices(numbers=tuple(decoded), values=weighed.values, explained=weighed.explained)


def _decode(study: Study) -> Iterator[tuple[int, Image]]:
    """Images by number; one that cannot be decoded has nothing to add."""
    count = len(study.images)
    for place in np.unique(np.linspace(0, count - 1, min(count, MOST_SLICES)).round().astype(int)):
        try:
            yield int(place) + 1, study.images[int(place)]
        except DicomError:
            continue
