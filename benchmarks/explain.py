"""What checks and heatmaps cost beside transformers and captum called the plain way, and what they are worth.

    python benchmarks/explain.py [--quick] [--data FOLDER]

Seconds first: an answer with its attention map, reliance and confidence beside a bare `generate`; Integrated
Gradients of 32 steps beside captum on the pixels, one version at a time through the whole `forward`; a second
question about the same image beside the first. The two sides take turns, so that a busy machine slows both.
The last line is JSON: named ratios and figures.
"""

import argparse
import json
import statistics
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
from medvqa.heatmaps import HEATMAPS
from medvqa.imaging import blank, to_uint8
from medvqa.models.checkpoints import find_checkpoint
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.loading import load_model
from medvqa.prompts import chat_messages
from medvqa.simulation import insert_nodule, phantom, place_nodule
from medvqa.types import Image, ImageRef

QUESTION, NEXT = "Where is the nodule?", "Is there a nodule?"
STEPS = 32


def simulated(seed: int) -> Image:
    """A phantom with a nodule, never the same twice."""
    rng = np.random.default_rng(seed)
    pixels = phantom(("brain", "chest", "breast")[seed % 3], rng, shape=(256, 256))
    uid = f"1.2.826.0.1.3680043.8.498.{seed}"
    ref = ImageRef(
        study_instance_uid=uid,
        series_instance_uid=uid,
        sop_instance_uid=uid,
        frame_number=1,
        pixel_sha256="0" * 64,
        file_sha256="0" * 64,
    )
    return Image(ref=ref, pixels=insert_nodule(pixels, place_nodule(pixels, rng)), modality="MR")


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
    plain, ours, follow_up = in_turn(
        lambda number: bare.answer(simulated(number), QUESTION),
        lambda number: answer_with_evidence(model, simulated(number), QUESTION),
        lambda number: answer_with_evidence(model, simulated(number), NEXT),
        rounds=rounds,
    )
    drawing = in_turn(simulated, rounds=rounds)[0]
    plain, ours, follow_up = (taken - drawing for taken in (plain, ours, follow_up))
    said = {number: model.generate(simulated(number), QUESTION) for number in range(rounds + 1)}
    maps = {}

    def ours_explained(number: int) -> None:
        image = simulated(number)
        maps[number] = HEATMAPS["integrated_gradients"](model, image, QUESTION, said[number])

    captum_seconds, our_seconds = in_turn(
        lambda number: bare.integrated_gradients(simulated(number), QUESTION, said[number].token_ids),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and images")
    parser.add_argument("--data", type=Path, help="real images in the form of datasets/README.md")
    given = parser.parse_args()
    figures = measure_seconds(load_model(), 3 if given.quick else 15)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
