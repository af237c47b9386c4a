"""Seconds per recorded answer, beside a bare `generate` of transformers with the same model and question.

    python benchmarks/ask.py [--quick]

The last line is JSON: ratios to the bare answer (medians), and its seconds.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image as PillowImage
from transformers import AutoModelForImageTextToText, AutoProcessor

from audit import Log
from medvqa.assistant import Assistant
from medvqa.imaging import to_uint8
from medvqa.models.checkpoints import find_checkpoint
from medvqa.prompts import chat_messages
from medvqa.simulated_study import write_simulated_study
from medvqa.study import read_study

QUESTION = "Where is the nodule?"


def seconds(task: Callable[[], object], rounds: int) -> float:
    """Median time of `task` over `rounds`, after one that does not count."""
    task()
    taken: list[float] = []
    for _ in range(rounds):
        started = time.perf_counter()
        task()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three rounds instead of fifteen")
    rounds = 3 if parser.parse_args().quick else 15
    with tempfile.TemporaryDirectory() as folder:
        write_simulated_study(Path(folder) / "study", seed=7)
        study = read_study(Path(folder) / "study")
        assistant = Assistant(audit=Log(f"sqlite:///{folder}/audit.sqlite"), key_folder=Path(folder) / "keys")
        processor = AutoProcessor.from_pretrained(find_checkpoint("default"), backend="pil")
        model = AutoModelForImageTextToText.from_pretrained(find_checkpoint("default"), dtype=torch.float32)
        picture = PillowImage.fromarray(to_uint8(study.images[1]))

        def bare() -> None:
            text = processor.apply_chat_template(chat_messages(QUESTION), add_generation_prompt=True)
            inputs = processor(text=text, images=picture, return_tensors="pt", add_special_tokens=False)
            with torch.inference_mode():
                model.generate(**inputs, do_sample=False, max_new_tokens=32)

        alone = seconds(bare, rounds)
        ratios = {"bare_generate_seconds": round(alone, 3)}
        for name, heatmap in (
            ("answer_checks_record", None),
            ("with_attention", "attention"),
            ("with_integrated_gradients", "integrated_gradients"),
        ):
            taken = seconds(lambda: assistant.ask(study, QUESTION, image_number=2, heatmap=heatmap), rounds)  # noqa: B023
            print(f"{name}: {taken:.3f} s, {taken / alone:.2f} times a bare generate of {alone:.3f} s")
            ratios[name] = round(taken / alone, 2)
        print(json.dumps(ratios))


if __name__ == "__main__":
    main()
