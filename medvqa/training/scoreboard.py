"""How good the trained model is on held-out pictures, and how much of that is the picture's doing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from medvqa.imaging import blank
from medvqa.models.loading import load_model
from medvqa.training.pictures import Picture, load_pictures, with_finding
from medvqa.training.questions import ask_everything
from medvqa.types import Image, ImageRef

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.training.questions import Asked
    from medvqa.training.schedule import Progress

    _Right: TypeAlias = NDArray[np.bool_]

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
    reworded: float | None
    """With the picture, asked in words that training has never used; None for kinds without such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All scores of one model."""

    pictures: int
    by_kind: dict[str, Score]
    overall: Score
    chinese: float
    """Accuracy with the picture, asked and answered in Chinese."""


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
    images = [to_image(picture) for picture in pictures]
    loaded = load_model(model, calibrated=False)

    def pose(**how: Any) -> tuple[list[Image], list[Asked]]:
        pairs = [
            (image, asked)
            for picture, image in zip(pictures, images, strict=True)
            for asked in ask_everything(picture.content, rng, **how)
        ]
        return [image for image, _ in pairs], [asked for _, asked in pairs]

    shown, asked = pose()
    right = {
        "image": _ask(loaded, shown, asked, progress),
        "blanked": _ask(loaded, [blank(image) for image in shown], asked, progress),
        "shuffled": _ask(loaded, _another_each(shown, rng), asked, progress),
    }
    again, reworded = pose(held_out=True)
    found = _ask(loaded, again, reworded, progress)
    kinds = np.array([one.kind for one in asked])
    kinds_reworded = np.array([one.kind for one in reworded])
    return Figures(
        pictures=len(pictures),
        by_kind={
            kind: _score(right, kinds == kind, found[kinds_reworded == kind]) for kind in sorted(set(kinds))
        },
        overall=_score(right, np.ones(len(asked), dtype=bool), found),
        chinese=round(float(_ask(loaded, *pose(language="zh"), progress).mean()), 3),
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
) -> _Right:
    """Which answers are right, letter case apart, shape (questions,)."""
    right: list[bool] = []
    for start in range(0, len(asked), _BATCH):
        part = asked[start : start + _BATCH]
        answers = model.answer_many(images[start : start + _BATCH], [one.question for one in part])
        right += [answer.lower() == one.answer.lower() for answer, one in zip(answers, part, strict=True)]
        progress(len(right), len(asked), sum(right) / len(right))
    return np.array(right, dtype=bool)


def _score(right: dict[str, _Right], chosen: _Right, reworded: _Right) -> Score:
    shares = {condition: round(float(values[chosen].mean()), 3) for condition, values in right.items()}
    share = round(float(reworded.mean()), 3) if len(reworded) else None
    return Score(questions=int(chosen.sum()), reworded=share, **shares)


def _another_each(images: list[Image], rng: np.random.Generator) -> list[Image]:
    """For each image another one, drawn from all the rest."""
    others: list[Image] = []
    for image in images:
        other = image
        while other is image:
            other = images[rng.integers(len(images))]
        others.append(other)
    return others
