"""What checks and heatmaps cost beside transformers and captum called the plain way, and what they are worth.

    python benchmarks/explain.py [--quick] [--data FOLDER]

Seconds first: an answer with its attention map, reliance and confidence beside a bare `generate`; Integrated
Gradients of 32 steps beside captum on the pixels, one version at a time through the whole `forward`; a second
question about the same image beside the first. The two sides take turns, so that a busy machine slows both.
Then worth: how often maps point at simulated nodules, beside chance and the image's centre, and whether
hiding what a good map marks does more than hiding random cells; with --data in held-out images, and for these
the calibration error and the share of wrong answers among those given. Lists are value, least and most of a
95 % bootstrap interval (for the 20 splits: mean, least and most). The last line is JSON: named ratios and
figures.
"""

import argparse
import csv
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum.attr import IntegratedGradients
from PIL import Image as PillowImage
from transformers import AutoModelForImageTextToText, AutoProcessor

from medvqa.checks import check_answer
from medvqa.evaluation.figures import measure_confidence
from medvqa.evaluation.intervals import Interval
from medvqa.evaluation.questions import ask_all, held_out_subjects
from medvqa.evaluation.scores import score
from medvqa.heatmaps import HEATMAPS
from medvqa.imaging import blank, to_uint8
from medvqa.models.checkpoints import find_checkpoint
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.loading import load_model
from medvqa.prompts import chat_messages
from medvqa.simulated_findings import write_findings
from medvqa.simulation import insert_nodule, phantom, place_nodule
from medvqa.types import HeatmapMethod, Image, ImageRef

QUESTION, NEXT = "Where is the nodule?", "Is there a nodule?"
STEPS = 32
METHODS: tuple[HeatmapMethod, ...] = ("attention", "integrated_gradients")
"""The map that is always on, and the one whose seconds are measured."""
ALPHA = 0.1
"""Promised share of wrong answers among those given."""


def simulated(seed: int) -> Image:
    """A phantom with a nodule, never the same twice."""
    rng = np.random.default_rng(seed)
    pixels = phantom(("brain", "chest", "breast")[seed % 3], rng, shape=(512, 512))
    uid = f"1.2.826.0.1.3680043.8.498.{seed}"
    ref = ImageRef(
        study_instance_uid=uid,
        series_instance_uid=uid,
        sop_instance_uid=uid,
        frame_number=1,
        pixel_sha256="0" * 64,
        file_sha256="0" * 64,
    )
    shown = insert_nodule(pixels, place_nodule(pixels, rng))
    shown.setflags(write=False)  # as a study's images are
    return Image(ref=ref, pixels=shown, modality="MR")


class Bare:
    """The peer: transformers' own calls on the same checkpoint."""

    def __init__(self) -> None:
        folder = find_checkpoint("default")
        self.processor: Any = AutoProcessor.from_pretrained(folder, backend="pil")
        self.model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
        self.model.eval().requires_grad_(False)

    def inputs(self, image: Image, question: str) -> Any:
        """What the processor makes of image and question."""
        text = self.processor.apply_chat_template(chat_messages(question), add_generation_prompt=True)
        picture = PillowImage.fromarray(to_uint8(image))
        return self.processor(text=text, images=picture, return_tensors="pt", add_special_tokens=False)

    def answer(self, image: Image, question: str) -> None:
        """Generate, and nothing else."""
        with torch.inference_mode():
            self.model.generate(**self.inputs(image, question), do_sample=False, max_new_tokens=32)

    def integrated_gradients(self, image: Image, question: str, token_ids: tuple[int, ...]) -> float:
        """captum on the pixels, one version at a time; the relative completeness error."""
        inputs, answer = self.inputs(image, question), torch.tensor([token_ids])
        input_ids = torch.cat([inputs["input_ids"], answer], 1)
        baseline = self.inputs(blank(image), question)["pixel_values"]

        def score(pixel_values: torch.Tensor) -> torch.Tensor:
            logits = self.model(
                input_ids=input_ids, attention_mask=torch.ones_like(input_ids), pixel_values=pixel_values
            ).logits
            chosen = logits[:, -len(token_ids) - 1 : -1].log_softmax(-1).gather(2, answer[..., None])
            return chosen[..., 0].sum(1)

        attributions, delta = IntegratedGradients(score).attribute(
            inputs["pixel_values"],
            baseline,
            n_steps=STEPS,
            internal_batch_size=1,
            return_convergence_delta=True,
        )
        gap = attributions.sum().item() - delta.item()
        return abs(delta.item()) / max(abs(gap), 1e-6)


def answer_with_evidence(model: HuggingFaceModel, image: Image, question: str) -> None:
    """What is always on: answer, attention map, reliance, confidence."""
    said = model.generate(image, question)
    HEATMAPS["attention"](model, image, question, said)
    check_answer(model, image, question, said)


def in_turn(*tasks: Callable[[int], object], rounds: int) -> list[float]:
    """Median seconds of each task over `rounds`, after one that does not count."""
    taken: list[list[float]] = [[] for _ in tasks]
    for number in range(rounds + 1):
        for place, task in enumerate(tasks):
            started = time.perf_counter()
            task(number)
            taken[place].append(time.perf_counter() - started)
    return [statistics.median(times[1:]) for times in taken]


def measure_seconds(model: HuggingFaceModel, rounds: int) -> dict[str, float]:
    """The ratios that say what evidence costs."""
    bare = Bare()
    images = [simulated(number) for number in range(rounds + 1)]
    plain, ours, follow_up = in_turn(
        lambda number: bare.answer(images[number], QUESTION),
        lambda number: answer_with_evidence(model, images[number], QUESTION),
        lambda number: answer_with_evidence(model, images[number], NEXT),
        rounds=rounds,
    )
    said = [model.generate(image, QUESTION) for image in images]
    maps = {}

    def ours_explained(number: int) -> None:
        maps[number] = HEATMAPS["integrated_gradients"](model, images[number], QUESTION, said[number])

    captum_seconds, our_seconds = in_turn(
        lambda number: bare.integrated_gradients(images[number], QUESTION, said[number].token_ids),
        ours_explained,
        rounds=max(2, rounds // 3),
    )
    errors = [float(found.convergence_delta) for found in maps.values()]
    return {
        "bare_generate_seconds": round(plain, 4),
        "answer_with_evidence_to_bare": round(ours / plain, 2),
        "second_question_to_first": round(follow_up / ours, 2),
        "captum_integrated_gradients_seconds": round(captum_seconds, 3),
        "captum_to_our_integrated_gradients": round(captum_seconds / our_seconds, 2),
        "largest_completeness_error": round(max(errors), 4),
    }


def measure_maps(model: HuggingFaceModel, data: Path | None, count: int, seed: int) -> dict[str, Any]:
    """Pointing and faithfulness on simulated nodules, in held-out images where there is a folder of such."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        sources = [] if data is None else held_out_files(data, count, seed)
        findings = write_findings(
            place / "findings", sources=sources, kinds=("nodule",), count=count, seed=seed
        )
        maps = score(model, findings, METHODS, seed=seed).maps
    return {
        "findings": count,
        "in": "phantoms" if data is None else "held-out images",
        **{
            f"{name}_{figure}": with_bounds(maps[name].get(figure))
            for name, figures in {
                "chance": ("pointing",),
                "centre": ("pointing",),
                **dict.fromkeys(METHODS, ("pointing", "pointing_strict", "good", "good_beats_random")),
            }.items()
            for figure in figures
        },
    }


def held_out_files(data: Path, count: int, seed: int) -> list[Path]:
    """Image files of the split that nothing was trained on."""
    with (data / "images.csv").open(newline="", encoding="utf-8") as lines:
        paths = sorted(row["path"] for row in csv.DictReader(lines) if row["split"] == "val")
    return [data / path for path in np.random.default_rng(seed).permutation(paths)[:count]]


def with_bounds(interval: Interval | None) -> list[float] | None:
    """Mean, and the 95 % bootstrap interval around it."""
    return interval and [round(value, 3) for value in (interval.mean, interval.low, interval.high)]


def measure_calibration(model: HuggingFaceModel, data: Path, limit: int | None, seed: int) -> dict[str, Any]:
    """Calibration error and coverage on the half of held-out images that nothing was fitted on."""
    outcomes = ask_all(model, held_out_subjects(data, seed=seed, limit=limit), lambda *_: None)
    figures = measure_confidence(outcomes, alpha=ALPHA, seed=seed).figures
    measured, repeated = figures["measured"], figures["over_20_splits"]
    return {
        "questions": measured["questions"],
        "calibration_error": [measured["ece"]["value"], *measured["ece"]["interval"]],
        "calibration_error_uncalibrated": measured["ece_uncalibrated"]["value"],
        "alpha": ALPHA,
        "error_among_answered_over_20_splits": list(repeated["error_answered"].values()),
        "answered": repeated["answered"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and images")
    parser.add_argument("--data", type=Path, help="real images in the form of datasets/README.md")
    parser.add_argument("--seed", type=int, default=31, help="of nodules, random maps, splits and intervals")
    given = parser.parse_args()
    model = load_model()
    figures: dict[str, Any] = {"seed": given.seed, "threads": torch.get_num_threads()}
    figures |= measure_seconds(model, 3 if given.quick else 15)
    figures["maps"] = measure_maps(model, given.data, 5 if given.quick else 80, given.seed)
    if given.data is not None:
        limit = 40 if given.quick else None
        figures["confidence"] = measure_calibration(model, given.data, limit, given.seed)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
