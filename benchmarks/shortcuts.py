"""How far the default model's findings rest on what is not the disease.

    python benchmarks/shortcuts.py [--quick] [--data FOLDER] [--model FOLDER]

The finding of every held-out image is asked as the image is, then with the image changed where a shortcut
may sit: the outer tenth of each edge cut away; calipers, markers and letters filled from around (and as many
pixels filled where no mark is, to know what the filling alone does); the grey levels of every image made
those of one average image of its organ, so that no sequence or device shows in them. The model was not
trained on changed images: a shortcut explains at most the fall. The peer is a classifier that sees nothing
but shortcuts, the grey levels as quantiles and the outer tenth as sixteen means: what it gets right, a model
may get right without looking at the disease. Lists are value, least and most of a 95 % bootstrap interval.
The last line is JSON. Without --data (images in the form of datasets/README.md) there is nothing to measure.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingClassifier

from medvqa.evaluation.intervals import mean_with_interval
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.loading import load_model
from medvqa.training.held_out import SIDE
from medvqa.training.pictures import Picture, load_pictures, to_image
from medvqa.training.questions import ask_everything

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medvqa.types import Pixels

EDGE = SIDE // 10
LEVELS = np.linspace(0, 1, 33)


def cropped(pixels: Pixels) -> Pixels:
    """Without the outer tenth of each edge, enlarged to the former size."""
    inner = pixels[EDGE:-EDGE, EDGE:-EDGE]
    return np.clip(ndimage.zoom(inner, SIDE / inner.shape[0], order=1), 0, 1).astype(np.float32)


def marks(pixels: Pixels) -> NDArray[np.bool_]:
    """Thin and much brighter than what surrounds them: calipers, letters, side markers, and a few lines of
    bright tissue."""
    thin = ndimage.white_tophat(pixels, size=7) > 0.35
    return ndimage.binary_dilation(thin & (pixels > 0.6), iterations=2)


def filled(pixels: Pixels, holes: NDArray[np.bool_]) -> Pixels:
    """Each hole takes the pixels nearest to it, smoothed."""
    if not holes.any():
        return pixels
    nearest = ndimage.distance_transform_edt(holes, return_distances=False, return_indices=True)
    smooth = ndimage.gaussian_filter(pixels[tuple(nearest)], 1.5)
    return np.where(holes, smooth, pixels).astype(np.float32)


def without_marks(pixels: Pixels) -> Pixels:
    return filled(pixels, marks(pixels))


def filled_elsewhere(pixels: Pixels) -> Pixels:
    """As many pixels of the same shapes, half an image further down."""
    return filled(pixels, np.roll(marks(pixels), SIDE // 2, axis=0))


def matching(reference: list[Picture]) -> Callable[[Pixels], Pixels]:
    """A change of grey levels to the average distribution of `reference`."""
    levels = np.mean([np.quantile(picture.pixels, LEVELS) for picture in reference], axis=0)

    def matched(pixels: Pixels) -> Pixels:
        ranks = ndimage.gaussian_filter(pixels, 0.5).ravel().argsort().argsort() / (pixels.size - 1)
        return np.interp(ranks, LEVELS, levels).reshape(pixels.shape).astype(np.float32)

    return matched


def shortcut_features(pixels: Pixels) -> NDArray[np.float64]:
    edges = (pixels[:EDGE].T, pixels[-EDGE:].T, pixels[:, :EDGE], pixels[:, -EDGE:])
    means = [edge.reshape(4, -1).mean(1) for edge in edges]
    return np.concatenate([np.quantile(pixels, LEVELS), *means])


def find_shortcuts(trained: list[Picture], held_out: list[Picture]) -> list[bool]:
    """Whether the peer, which sees shortcuts alone, names each held-out finding."""
    peer = HistGradientBoostingClassifier(random_state=0, class_weight="balanced")
    peer.fit([shortcut_features(one.pixels) for one in trained], [one.content.finding for one in trained])
    named = peer.predict([shortcut_features(one.pixels) for one in held_out])
    return [bool(name == one.content.finding) for name, one in zip(named, held_out, strict=True)]


def ask(model: HuggingFaceModel, pictures: list[Picture], questions: list[str]) -> list[bool]:
    answers: list[str] = []
    for start in range(0, len(pictures), 32):
        images = [to_image(picture) for picture in pictures[start : start + 32]]
        answers += model.answer_many(images, questions[start : start + 32])
    return [answer == one.content.finding for answer, one in zip(answers, pictures, strict=True)]


def measure(model: HuggingFaceModel, trained: list[Picture], held_out: list[Picture]) -> dict[str, Any]:
    """Of one organ's pictures."""
    rng = np.random.default_rng(0)
    questions = [
        next(one.question for one in ask_everything(picture.content, rng) if one.kind.endswith("_finding"))
        for picture in held_out
    ]
    changes: dict[str, Callable[[Pixels], Pixels]] = {
        "as_it_is": lambda pixels: pixels,
        "cropped": cropped,
        "grey_levels_matched": matching(trained),
    }
    # In a slice of a head, what is thin and bright is the scalp.
    if held_out[0].content.organ != "brain":
        changes |= {"without_marks": without_marks, "filled_elsewhere": filled_elsewhere}
    right = {
        name: ask(model, [replace(one, pixels=change(one.pixels)) for one in held_out], questions)
        for name, change in changes.items()
    }
    shortcut = find_shortcuts(trained, held_out)
    usual = Counter(one.content.finding for one in held_out).most_common(1)[0][1] / len(held_out)
    misled = [ours for ours, theirs in zip(right["as_it_is"], shortcut, strict=True) if not theirs]
    shares = {**right, "shortcuts_alone": shortcut, "where_shortcuts_mislead": misled}
    return {
        "images": len(held_out),
        "always_the_usual": round(usual, 3),
        "misled": len(misled),
        **{name: _interval(values) for name, values in shares.items()},
    }


def _interval(values: list[bool]) -> list[float] | None:
    found = mean_with_interval([float(value) for value in values])
    return None if found is None else [round(found.mean, 3), round(found.low, 3), round(found.high, 3)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="twenty held-out images of each organ")
    parser.add_argument("--data", type=Path, help="real images in the form of datasets/README.md")
    parser.add_argument("--model", default="default", help="folder of the checkpoint")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.data is None:
        print(json.dumps({"skipped": "real images are needed: give --data FOLDER"}))
        return
    model = load_model(given.model)
    trained = load_pictures(given.data, split="train", side=SIDE)
    held_out = load_pictures(given.data, split="val", side=SIDE)
    figures: dict[str, Any] = {}
    for organ in ("brain", "chest", "breast"):
        theirs = [one for one in held_out if one.content.organ == organ]
        chosen = np.random.default_rng(0).permutation(len(theirs))[: 20 if given.quick else None]
        found = measure(
            model, [one for one in trained if one.content.organ == organ], [theirs[index] for index in chosen]
        )
        for name, value in found.items():
            print(f"{organ:7} {name:24} {value}")
        figures[organ] = found
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
