"""What a model says to cases: to each image, to that image with nothing in it, and to another patient's."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from medvqa.cases import read_image
from medvqa.checks.confidence import judge_confidence, mean_token_probability
from medvqa.checks.familiarity import check_familiarity
from medvqa.checks.references import stand_ins
from medvqa.errors import GateError, QuestionError
from medvqa.gate import check_image
from medvqa.imaging import blank

if TYPE_CHECKING:
    from medvqa.cases import Case
    from medvqa.models.base import Generation
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.types import Image

BATCH = 16
"""Questions that are asked at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One answer of the model to a case as it stands."""

    generation: Generation | None
    """None where the question is longer than the model can read, or holds one of its special tokens."""
    confidence: float = 0.0
    """In [0, 1]: calibrated where the model is, else the mean token probability."""
    calibrated: bool = False
    abstains: bool = False
    gate: str | None = None
    """`refused` or `unfamiliar`: why `medvqa ask` would not have answered about the image."""

    @property
    def text(self) -> str:
        """Nothing where it could not be asked."""
        return "" if self.generation is None else self.generation.text

    @property
    def probability(self) -> float:
        """Mean probability of the answer's tokens, in [0, 1]."""
        return 0.0 if self.generation is None else mean_token_probability(self.generation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Of one model to all cases, in their order."""

    said: tuple[Said, ...]
    blank_image: tuple[str, ...]
    """What it said to the image with nothing in it; empty where that was not asked for."""
    other_image: tuple[str, ...]
    """What it said to another group's image."""
    seconds: float
    """Of answering the cases as they stand, without reading files."""
    tokens: int
    """That it wrote in these seconds."""


def answer_cases(
    model: HuggingFaceModel,
    cases: Sequence[Case],
    *,
    seed: int = 0,
    controls: bool = True,
    on_answered: Callable[[int], None] = lambda _: None,
) -> Answers:
    """Answer every case: images that `medvqa ask` would refuse are answered too, and marked.

    All questions about one image are one batch, with the words that they have when asked one by one; the
    controls are asked in batches of `BATCH`.

    Args:
        model: What answers.
        cases: Its questions.
        seed: Of the choice of other images.
        controls: Ask about blank and other images too.
        on_answered: Told how many answers came, of `len(cases)` or three times that with controls.

    Raises:
        TrainingError: If an image cannot be read.
    """
    said: dict[int, Said] = {}
    blanks, others = (_Control(model, on_answered) for _ in range(2))
    shown: defaultdict[int, list[int]] = defaultdict(list)
    if controls:
        for place, other in enumerate(choose_others(cases, seed=seed)):
            if other is None:
                others.ask(place, stand_ins()[0], cases[place].question)
            else:
                shown[other].append(place)
    seconds = 0.0
    for places in _by_image(cases):
        image = read_image(cases[places[0]])
        started = time.perf_counter()
        answers = _ask(model, image, [cases[place].question for place in places])
        seconds += time.perf_counter() - started
        said |= zip(places, answers, strict=True)
        on_answered(len(places))
        if controls:
            empty = blank(image)
            for place in places:
                blanks.ask(place, empty, cases[place].question)
                for borrower in shown[place]:
                    others.ask(borrower, image, cases[borrower].question)
    generations = [one.generation for one in said.values() if one.generation is not None]
    return Answers(
        said=tuple(said[place] for place in range(len(cases))),
        blank_image=blanks.finish(),
        other_image=others.finish(),
        seconds=seconds,
        tokens=sum(len(generation.token_ids) for generation in generations),
    )


def choose_others(cases: Sequence[Case], *, seed: int) -> list[int | None]:
    """For each case another whose image it borrows: of another group, and of its kind where there is one.

    None where all cases are of one group.
    """
    rng = np.random.default_rng(seed)
    kinds: defaultdict[str, list[int]] = defaultdict(list)
    for place, case in enumerate(cases):
        kinds[case.kind].append(place)
    everything = list(range(len(cases)))
    chosen: list[int | None] = []
    for case in cases:
        found = _draw_other(cases, case, kinds[case.kind], rng)
        chosen.append(_draw_other(cases, case, everything, rng) if found is None else found)
    return chosen


def _draw_other(
    cases: Sequence[Case], case: Case, pool: Sequence[int], rng: np.random.Generator
) -> int | None:
    for _ in range(20):
        drawn = pool[int(rng.integers(len(pool)))]
        if cases[drawn].group != case.group:
            return drawn
    left = [place for place in pool if cases[place].group != case.group]
    return left[int(rng.integers(len(left)))] if left else None


def _by_image(cases: Sequence[Case]) -> list[list[int]]:
    """Places of the cases about each image."""
    found: defaultdict[object, list[int]] = defaultdict(list)
    for place, case in enumerate(cases):
        found[case.image, case.frame].append(place)
    return list(found.values())


def _ask(model: HuggingFaceModel, image: Image, questions: Sequence[str]) -> list[Said]:
    gate = _gate(model, image)
    said: list[Said] = []
    for start in range(0, len(questions), BATCH):
        for generation in _generate(model, image, questions[start : start + BATCH]):
            if generation is None:
                said.append(Said(generation=None, gate=gate))
                continue
            sure, calibrated, abstains = judge_confidence(model, generation, familiar=gate is None)
            said.append(
                Said(
                    generation=generation,
                    confidence=sure,
                    calibrated=calibrated,
                    abstains=abstains,
                    gate=gate,
                )
            )
    return said


def _generate(model: HuggingFaceModel, image: Image, questions: Sequence[str]) -> list[Generation | None]:
    try:
        return [*model.generate_many([(image, question) for question in questions])]
    except QuestionError:
        if len(questions) == 1:
            return [None]
        return [one for question in questions for one in _generate(model, image, [question])]


def _gate(model: HuggingFaceModel, image: Image) -> str | None:
    try:
        check_image(image, modalities=model.modalities)
    except GateError:
        return "refused"
    return "unfamiliar" if check_familiarity(model, image, unfamiliar="warn") else None


@dataclass(slots=True)
class _Control:
    """Answers about images in another's place, a batch at a time."""

    model: HuggingFaceModel
    on_answered: Callable[[int], None]
    waiting: list[tuple[int, Image, str]] = field(default_factory=list[tuple[int, "Image", str]])
    texts: dict[int, str] = field(default_factory=dict[int, str])

    def ask(self, place: int, image: Image, question: str) -> None:
        self.waiting.append((place, image, question))
        if len(self.waiting) == BATCH:
            self._flush()

    def finish(self) -> tuple[str, ...]:
        self._flush()
        return tuple(self.texts[place] for place in range(len(self.texts)))

    def _flush(self) -> None:
        if self.waiting:
            self.texts |= zip(
                (place for place, _, _ in self.waiting),
                _answer(self.model, [(image, question) for _, image, question in self.waiting]),
                strict=True,
            )
            self.on_answered(len(self.waiting))
            self.waiting.clear()


def _answer(model: HuggingFaceModel, asked: Sequence[tuple[Image, str]]) -> list[str]:
    try:
        return model.answer_many([image for image, _ in asked], [question for _, question in asked])
    except QuestionError:
        if len(asked) == 1:
            return [""]
        return [text for one in asked for text in _answer(model, [one])]
