"""How good the trained model is on held-out pictures, and how much of that is the picture's doing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from medvqa.imaging import blank
from medvqa.models.loading import load_model
from medvqa.training.pictures import Picture, load_pictures, with_finding
from medvqa.training.questions import ask_everything
from medvqa.types import Image, ImageRef

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.training.questions import Asked
    from medvqa.training.schedule import Progress

SIDE = 224
"""Pixels along each edge of the pictures that are asked about; the model's processor makes them smaller."""
_BATCH = 32
_MODALITY = {"brain": "MR", "chest": "DX", "breast": "US"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Exact-match accuracy, in [0, 1], over the questions of one kind."""

    questions: int
    image: float
    """With the picture that the question is about."""
    blanked: float
    """With that picture blanked to its mean grey."""
    shuffled: float
    """With another picture of the set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All scores of one model."""

    pictures: int
    by_kind: dict[str, Score]
    overall: Score
    held_out_wordings: float
    """Accuracy with the picture, on wordings that training has never used."""


def score_model(model: Path, data: Path, *, progress: Progress, limit: int | None = None) -> Figures:
    """Ask the model in the folder `model` about the pictures of `data` whose split is `val`.

    Every picture is asked about as it is, and once more with a simulated finding. Wordings, places of nodules
    and the shuffle are drawn from one fixed seed.

    Args:
        model: A checkpoint of transformers.
        data: See `datasets/README.md`.
        progress: Told of every batch, with the running accuracy in place of a loss.
        limit: At most so many of the real pictures.
    """
    rng = np.random.default_rng(20)
    real = load_pictures(data, split="val", side=SIDE)
    real = [real[index] for index in rng.permutation(len(real))[:limit]]
    pictures = [*real, *(with_finding(picture, rng) for picture in real)]
    loaded = load_model(model)
    known = [(picture, asked) for picture in pictures for asked in ask_everything(picture.content, rng)]
    unseen = [
        (picture, asked)
        for picture in pictures
        for asked in ask_everything(picture.content, rng, held_out=True)
    ]
    images = {id(picture): to_image(picture) for picture in pictures}
    shuffled = _another_each([images[id(picture)] for picture, _ in known], rng)
    questions = [asked for _, asked in known]
    right = {
        "image": _ask(loaded, [images[id(picture)] for picture, _ in known], questions, progress),
        "blanked": _ask(loaded, [blank(images[id(picture)]) for picture, _ in known], questions, progress),
        "shuffled": _ask(loaded, shuffled, questions, progress),
    }
    worded = _ask(loaded, [images[id(picture)] for picture, _ in unseen], [a for _, a in unseen], progress)
    kinds = sorted({asked.kind for asked in questions})
    return Figures(
        pictures=len(pictures),
        by_kind={
            kind: _score(right, np.array([asked.kind == kind for asked in questions])) for kind in kinds
        },
        overall=_score(right, np.ones(len(questions), dtype=bool)),
        held_out_wordings=round(float(worded.mean()), 3),
    )


def write_figures(folder: Path, figures: Figures) -> None:
    """Keep the figures beside the model."""
    (folder / "figures.json").write_text(json.dumps(asdict(figures), indent=2) + "\n")


def to_image(picture: Picture) -> Image:
    """A training picture as the noun that models are asked about; it has no UIDs and no digests."""
    nothing = dict.fromkeys(
        ("study_instance_uid", "series_instance_uid", "sop_instance_uid", "pixel_sha256", "file_sha256"), ""
    )
    ref = ImageRef(**nothing, frame_number=1)
    return Image(ref=ref, pixels=picture.pixels, modality=_MODALITY[picture.content.organ])


def _ask(
    model: HuggingFaceModel, images: Sequence[Image], asked: Sequence[Asked], progress: Progress
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which answers are right, letter case apart, shape (questions,)."""
    right: list[bool] = []
    for start in range(0, len(asked), _BATCH):
        part = asked[start : start + _BATCH]
        answers = model.answer_many(images[start : start + _BATCH], [one.question for one in part])
        right += [answer.lower() == one.answer.lower() for answer, one in zip(answers, part, strict=True)]
        progress(len(right), len(asked), sum(right) / len(right))
    return np.array(right, dtype=bool)


def _score(right: dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]], chosen: np.ndarray) -> Score:
    shares = {condition: round(float(values[chosen].mean()), 3) for condition, values in right.items()}
    return Score(questions=int(chosen.sum()), **shares)


def _another_each(images: list[Image], rng: np.random.Generator) -> list[Image]:
    """For each image another one, drawn from all the rest."""
    others: list[Image] = []
    for image in images:
        other = image
        while other is image:
            other = images[rng.integers(len(images))]
        others.append(other)
    return others
