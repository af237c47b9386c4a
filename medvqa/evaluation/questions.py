"""Questions whose answers are known, and what a model made of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from medvqa.cases import read_cases, read_image
from medvqa.checks.confidence import mean_token_probability
from medvqa.training.held_out import SIDE
from medvqa.training.pictures import load_pictures, make_phantoms, to_image, with_finding
from medvqa.training.questions import ask_everything

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medvqa.cases import Case
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.training.pictures import Picture, Split
    from medvqa.types import Image

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many are done, and of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posed:
    """One question with its right answer."""

    question: str
    answer: str
    kind: str
    wording: str = "given"
    """`usual` or `unseen`: whether training used such wordings; `given` where nobody has said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One image, and what is asked about it."""

    read: Callable[[], Image]
    group: str
    """Ties images of one patient together."""
    kind: str
    """Of image: one that another kind tells nothing about."""
    asked: tuple[Posed, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one question."""

    group: str
    kind: str
    wording: str
    probability: float
    """Mean token probability, in [0, 1]."""
    right: bool
    """Exact match, letter case apart."""


def held_out_subjects(data: Path, *, seed: int, limit: int | None = None) -> list[Subject]:
    """Pictures of `data` whose split is `val`, every second with a simulated nodule, in random order.

    About each, every kind of question is asked twice: in a wording that training used, and in one that it
    never used, where the kind has such.

    Raises:
        TrainingError: As for `load_pictures`.
    """
    rng = np.random.default_rng(seed)
    return [
        Subject(
            read=partial(to_image, picture),
            group=picture.group,
            kind=picture.content.organ,
            asked=tuple(
                Posed(question=one.question, answer=one.answer, kind=one.kind, wording=wording)
                for wording, held_out in (("usual", False), ("unseen", True))
                for one in ask_everything(picture.content, rng, held_out=held_out)
            ),
        )
        for picture in _pictures(data, "val", rng, limit)
    ]


def familiar_subjects(data: Path, *, seed: int, limit: int) -> list[Subject]:
    """Pictures of `data` whose split is `train`, every second with a simulated nodule, with nothing asked."""
    chosen = _pictures(data, "train", np.random.default_rng(seed), limit)
    return [
        Subject(read=partial(to_image, picture), group=picture.group, kind=picture.content.organ)
        for picture in chosen
    ]


def phantom_subjects(count: int, *, seed: int) -> list[Subject]:
    """Simulated images, every second with a nodule: the default model was trained on such too."""
    rng = np.random.default_rng(seed)
    phantoms = make_phantoms(count, rng, side=SIDE)
    shown = [with_finding(one, rng) if place % 2 else one for place, one in enumerate(phantoms)]
    return [
        Subject(read=partial(to_image, one), group=f"{one.name}-{seed}", kind=f"phantom {one.content.organ}")
        for one in shown
    ]


def read_lines(path: Path, *, seed: int) -> list[Subject]:
    """Anybody's cases, as `medvqa.cases.read_cases` reads them; of a file with splits those of `val`.

    Raises:
        TrainingError: As for `read_cases`.
    """
    cases = read_cases(path)
    held_out = [case for case in cases if case.split == "val"] or cases
    asked: defaultdict[tuple[Path, int | None, str], list[Case]] = defaultdict(list)
    for case in held_out:
        asked[case.image, case.frame, case.group].append(case)
    subjects = [
        Subject(
            read=partial(read_image, together[0]),
            group=together[0].group,
            kind="all",
            asked=tuple(
                Posed(question=case.question, answer=case.answer, kind=case.kind) for case in together
            ),
        )
        for together in asked.values()
    ]
    return [subjects[index] for index in np.random.default_rng(seed).permutation(len(subjects))]


def ask_all(model: HuggingFaceModel, subjects: Sequence[Subject], progress: Progress) -> list[Outcome]:
    """Ask everything, all questions about one image as one batch."""
    outcomes: list[Outcome] = []
    for number, subject in enumerate(subjects, 1):
        image = subject.read()
        generations = model.generate_many([(image, posed.question) for posed in subject.asked])
        outcomes += [
            Outcome(
                group=subject.group,
                kind=posed.kind,
                wording=posed.wording,
                probability=mean_token_probability(generation),
                right=generation.text.casefold() == posed.answer.strip().casefold(),
            )
            for posed, generation in zip(subject.asked, generations, strict=True)
        ]
        progress(number, len(subjects))
    return outcomes


def _pictures(data: Path, split: Split, rng: np.random.Generator, limit: int | None) -> list[Picture]:
    pictures = load_pictures(data, split=split, side=SIDE)
    chosen = [pictures[index] for index in rng.permutation(len(pictures))[:limit]]
    return [with_finding(picture, rng) if place % 2 else picture for place, picture in enumerate(chosen)]
