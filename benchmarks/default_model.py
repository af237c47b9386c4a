"""What the default model is worth and what an answer of it costs, beside the same model without its image and
beside transformers called plainly.

    python benchmarks/default_model.py [--quick] [--data FOLDER] [--model FOLDER]

Accuracy first, where --data names real images in the form of datasets/README.md: of those that nothing was
trained on, by kind of question, with the image, blanked, with another image, in words that training never
used, and in Chinese. Then seconds: a short answer beside transformers' own `generate`; eight questions as one
batch beside one by one, with the same answers; weights in bfloat16 and in dynamic int8, and `torch.compile`,
beside float32. Last the peak memory of a whole `medvqa ask`. The last line is JSON: named ratios and figures.
"""

import argparse
import copy
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from explain import NEXT, QUESTION, Bare, in_turn, simulated

from medvqa.models.checkpoints import find_checkpoint
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.loading import load_model
from medvqa.simulated_study import write_simulated_study
from medvqa.training.scoreboard import score_model

ASKED = (QUESTION, NEXT, "Which organ is shown?", "Which imaging modality is this?")


def measure_accuracy(model: str, data: Path, limit: int | None) -> dict[str, Any]:
    """Exact match, and how far the picture and the words carry it."""
    figures = score_model(find_checkpoint(model), data, progress=lambda *_: None, limit=limit)
    found: dict[str, Any] = {
        kind: {name: value for name, value in asdict(score).items() if value is not None}
        for kind, score in {**figures.by_kind, "all": figures.overall}.items()
    }
    return {"pictures": figures.pictures, "by_kind": found, "chinese": figures.chinese}


def measure_seconds(model: HuggingFaceModel, rounds: int) -> dict[str, float]:
    """An answer beside the peer's, each image seen for the first time."""
    bare = Bare()
    images = [simulated(number) for number in range(rounds + 1)]
    plain, ours = in_turn(
        lambda number: bare.answer(images[number], QUESTION),
        lambda number: model.generate(images[number], QUESTION),
        rounds=rounds,
    )
    return {"answer_seconds": round(ours, 4), "answer_to_bare_generate": round(ours / plain, 2)}


def measure_batch(model: HuggingFaceModel, rounds: int) -> dict[str, float]:
    """Eight images with a question each, padded on the left, beside the same one by one."""
    images = [simulated(100 + number) for number in range(8)]
    questions = [ASKED[number % len(ASKED)] for number in range(8)]
    said: dict[str, list[str]] = {}

    def together(_: int) -> None:
        said["together"] = model.answer_many(images, questions)

    def alone(_: int) -> None:
        pairs = zip(images, questions, strict=True)
        said["alone"] = [model.answer_many([image], [question])[0] for image, question in pairs]

    single, batch = in_turn(alone, together, rounds=rounds)
    equal = sum(one == other for one, other in zip(said["together"], said["alone"], strict=True))
    return {"one_by_one_to_batch": round(single / batch, 2), "batch_answers_equal": equal / 8}


def measure_precisions(model: HuggingFaceModel, rounds: int) -> dict[str, float | None]:
    """Seconds of float32 divided by those of each other form: over 1 where it helps."""
    images = [simulated(200 + number) for number in range(rounds + 1)]

    def with_module(module: Any) -> HuggingFaceModel:
        return HuggingFaceModel(module, model._processor, model.identity, modalities=model.modalities)

    def quantised() -> Any:
        module = copy.deepcopy(model._model)
        return torch.ao.quantization.quantize_dynamic(module, {torch.nn.Linear}, dtype=torch.qint8)

    def compiled() -> Any:
        module = copy.deepcopy(model._model)
        module.forward = torch.compile(module.forward, dynamic=True)
        return module

    found: dict[str, float | None] = {}
    for name, make in {
        "bfloat16": lambda: copy.deepcopy(model._model).to(torch.bfloat16),
        "int8": quantised,
        "compiled": compiled,
    }.items():
        try:
            other = with_module(make())
            usual, changed = in_turn(
                lambda number: model.generate(images[number], QUESTION),
                lambda number, other=other: other.generate(images[number], QUESTION),
                rounds=rounds,
            )
            found[f"float32_to_{name}"] = round(usual / changed, 2)
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
            found[f"float32_to_{name}"] = None
    return found


def measure_memory(model: str) -> dict[str, float]:
    """Of a whole `medvqa ask` with its heatmap, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        write_simulated_study(Path(folder) / "study", seed=7)
        environment = {
            **os.environ,
            "MEDVQA_AUDIT_URL": str(Path(folder) / "trail.sqlite"),
            "MEDVQA_KEY_FOLDER": str(Path(folder) / "keys"),
        }
        command = [sys.executable, "-m", "medvqa", "ask", f"{folder}/study", QUESTION, "--model", model]
        started = time.perf_counter()
        subprocess.run([*command, "--json"], check=True, capture_output=True, env=environment)
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"ask_peak_memory_mb": round(peak / 1024), "ask_process_seconds": round(seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and images")
    parser.add_argument("--data", type=Path, help="real images in the form of datasets/README.md")
    parser.add_argument("--model", default="default", help="folder of the checkpoint")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    model = load_model(given.model)
    rounds = 3 if given.quick else 15
    figures: dict[str, Any] = {"threads": torch.get_num_threads()}
    if given.data is not None:
        figures["accuracy"] = measure_accuracy(given.model, given.data, 12 if given.quick else None)
    figures |= measure_seconds(model, rounds)
    figures |= measure_batch(model, max(2, rounds // 3))
    figures |= measure_precisions(model, rounds)
    figures |= measure_memory(given.model)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
