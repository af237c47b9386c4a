"""What the default model is worth and what an answer of it costs, beside the same model without its image and
beside transformers called plainly.

    python benchmarks/default_model.py [--quick] [--data FOLDER] [--model FOLDER]

Accuracy first, where --data names real images in the form of datasets/README.md: of those that nothing was
trained on, by kind of question, with the image, blanked, with another image, in words that training never
used, and in Chinese; and of places by kind of drawn finding. Then seconds: a short answer beside
transformers' own `generate`; eight questions as one batch beside one by one, with the same answers; weights
in bf16 and int8, and `torch.compile`, beside fp32, the first two also with a decoder of 100 million random
weights in place of its own; and the peak memory of a whole `medvqa ask`. The last line is JSON: named ratios
and figures.
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
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from explain import NEXT, QUESTION, Bare, in_turn, simulated
from transformers import AutoModelForImageTextToText

from medvqa.evaluation.held_out import measure_held_out
from medvqa.evaluation.scoreboard import ROWS
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.loading import load_model
from medvqa.models.precision import round_to_int8
from medvqa.simulated_study import write_simulated_study
from medvqa.simulation import Finding
from medvqa.training.held_out import SIDE, write_held_out
from medvqa.training.pictures import load_pictures, to_image, with_finding
from medvqa.training.questions import ask_everything

PLACES = ("simulated_side", "simulated_quadrant")
ASKED = (QUESTION, NEXT, "Which organ is shown?", "Which imaging modality is this?")


def measure_accuracy(model: HuggingFaceModel, data: Path, limit: int | None) -> dict[str, Any]:
    """Exact match by kind, with the image and without it, in other words and in Chinese."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure_held_out(model, write_held_out(data, Path(folder), limit=limit))
    rows = {
        **{name: found["known"]["rows"][name] for name in ROWS},
        "reworded": found["reworded"],
        "chinese": found["chinese"],
    }
    kinds = sorted(rows["model"]["by_kind"])
    return {
        kind: {
            name: [one["exact_match"], *one["intervals"]["exact_match"]]
            for name, row in rows.items()
            if (one := row if kind == "all" else row["by_kind"].get(kind)) is not None
        }
        for kind in ("all", *kinds)
    } | {
        name: [rows["model"][name], *rows["model"]["intervals"][name]]
        for name in ("unanswerable_refused", "answerable_refused")
    }


def measure_places(model: HuggingFaceModel, data: Path, limit: int | None) -> dict[str, dict[str, float]]:
    """Exact match about side and quadrant of a finding drawn into each image, by kind of finding."""
    rng = np.random.default_rng(13)
    right: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for picture in load_pictures(data, split="val", side=SIDE)[:limit]:
        shown = with_finding(picture, rng)
        asked = [one for one in ask_everything(shown.content, rng) if one.kind in PLACES]
        answers = model.answer_many([to_image(shown)] * len(asked), [one.question for one in asked])
        for one, answer in zip(asked, answers, strict=True):
            for kind in ("all", cast("Finding", shown.content.simulated).kind):
                right[one.kind][kind].append(answer == one.answer)
    return {
        place: {kind: round(sum(found) / len(found), 3) for kind, found in sorted(by_kind.items())}
        for place, by_kind in right.items()
    }


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


def in_bf16(module: Any) -> Any:
    return copy.deepcopy(module).to(torch.bfloat16)


def in_int8(module: Any) -> Any:
    rounded = copy.deepcopy(module)
    round_to_int8(rounded)
    return rounded


def compiled(module: Any) -> Any:
    other = copy.deepcopy(module)
    other.forward = torch.compile(other.forward, dynamic=True)
    return other


def with_module(model: HuggingFaceModel, module: Any) -> HuggingFaceModel:
    return HuggingFaceModel(module, model._processor, model.identity, modalities=model.modalities)


def with_large_decoder(model: HuggingFaceModel) -> HuggingFaceModel:
    """The same tower before a decoder as wide as those of small published models."""
    config = copy.deepcopy(model.module.config)
    config.text_config.update(
        {
            "hidden_size": 1024,
            "intermediate_size": 2816,
            "num_hidden_layers": 8,
            "num_attention_heads": 16,
            "num_key_value_heads": 16,
            "head_dim": 64,
        }
    )
    torch.manual_seed(0)
    return with_module(model, AutoModelForImageTextToText.from_config(config))


def measure_forms(
    model: HuggingFaceModel, forms: dict[str, Callable[[Any], Any]], rounds: int, prefix: str = ""
) -> dict[str, float | None]:
    """Seconds of an answer in fp32 divided by those in each other form: over 1 where it helps."""
    images = [simulated(200 + number) for number in range(rounds + 1)]
    found: dict[str, float | None] = {}
    for name, change in forms.items():
        try:
            other = with_module(model, change(model.module))
            usual, changed = in_turn(
                lambda number: model.generate(images[number], QUESTION),
                lambda number, other=other: other.generate(images[number], QUESTION),
                rounds=rounds,
            )
            found[f"{prefix}fp32_to_{name}"] = round(usual / changed, 2)
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
            found[f"{prefix}fp32_to_{name}"] = None
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
        subprocess.run([*command, "--json"], check=True, capture_output=True, cwd=folder, env=environment)
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
    # Before torch.compile, whose workers are children too and would count as the largest of them.
    figures |= measure_memory(given.model)
    if given.data is not None:
        limit = 12 if given.quick else None
        figures["accuracy"] = measure_accuracy(model, given.data, limit)
        figures["places"] = measure_places(model, given.data, limit)
    figures |= measure_seconds(model, rounds)
    figures |= measure_batch(model, max(2, rounds // 3))
    figures |= measure_forms(model, {"bf16": in_bf16, "int8": in_int8, "compiled": compiled}, rounds)
    figures |= measure_forms(
        with_large_decoder(model), {"bf16": in_bf16, "int8": in_int8}, max(2, rounds // 3), prefix="large_"
    )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
