"""What one question costs in memory, beside what `medvqa models` predicts.

    python benchmarks/memory.py [--quick]

The peak resident memory of a whole `medvqa ask` with its checks, each in a process of its own: of the shipped
model, and of the same classes of transformers with larger decoders of random weights, stored in bfloat16 as
published checkpoints are. One of them reads 577 image tokens, about as many as LLaVA 1.5, in place of 65.
The last line is JSON: named figures in GB, and ratios of prediction to measurement.
"""

import argparse
import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from medvqa.models.checkpoints import DEFAULT_MODEL, find_checkpoint
from medvqa.models.memory import Width, estimate_gb
from medvqa.simulated_study import write_simulated_study

QUESTION = "Is there a nodule?"
HEAD = 64
WIDTHS: tuple[Width, ...] = ("fp32", "bf16", "int8")
WORDS, PROMPTS = 30, 22
"""Tokens of a question in its template; prompts that are held at once, see `medvqa.models.memory.KEPT`."""


def write_larger(folder: Path, *, width: int, layers: int, side: int = 128) -> Path:
    """A checkpoint like the shipped one with a larger decoder of random weights, in bfloat16."""
    shipped = find_checkpoint(DEFAULT_MODEL)
    config = copy.deepcopy(AutoConfig.from_pretrained(shipped))
    config.text_config.update(
        {
            "hidden_size": width,
            "intermediate_size": width * 11 // 4,
            "num_hidden_layers": layers,
            "num_attention_heads": width // HEAD,
            "num_key_value_heads": width // HEAD,
            "head_dim": HEAD,
            "max_position_embeddings": 2048,
        }
    )
    config.vision_config.image_size = side
    torch.manual_seed(0)
    AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    for name in ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json", "medvqa.json"):
        shutil.copy(shipped / name, folder / name)
    described: dict[str, Any] = json.loads((shipped / "processor_config.json").read_text())
    described["image_processor"]["size"] = {"height": side, "width": side}
    (folder / "processor_config.json").write_text(json.dumps(described))
    return folder


def parameters_of(folder: Path) -> float:
    """In billions."""
    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    return sum(parameter.numel() for parameter in model.parameters()) / 1e9


def kept_by(folder: Path, parameters: float) -> float:
    """Numbers kept beside the weights, a parameter, as `medvqa.models.memory.KEPT` says."""
    text = AutoConfig.from_pretrained(folder).text_config
    described = json.loads((folder / "processor_config.json").read_text())
    tokens = (described["image_processor"]["size"]["height"] // described["patch_size"]) ** 2 + 1 + WORDS
    width = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim
    return width * tokens * PROMPTS / (parameters * 1e9)


def peak_gb(arguments: list[str], environment: dict[str, str]) -> float:
    """Peak resident memory of a process of its own, in GB."""
    started = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(started.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)} ended with status {status}")
    return usage.ru_maxrss * 1024 / 1e9


def measure(model: str, precision: str, study: Path, *options: str) -> float:
    """Of one `medvqa ask`."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "MEDVQA_AUDIT_URL": str(Path(folder) / "trail.sqlite"),
            "MEDVQA_KEY_FOLDER": str(Path(folder) / "keys"),
            "MEDVQA_PRECISION": precision,
            "MEDVQA_UNFAMILIAR": "warn",
        }
        command = [sys.executable, "-m", "medvqa", "ask", str(study), QUESTION, "--model", model, "--json"]
        return peak_gb([*command, *options], environment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the smaller models alone")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        study = root / "study"
        write_simulated_study(study, seed=7)
        models = {"default": str(find_checkpoint(DEFAULT_MODEL))}
        models["random_100m"] = str(write_larger(root / "100m", width=1024, layers=8))
        if not given.quick:
            models["random_400m"] = str(write_larger(root / "400m", width=1536, layers=14))
            models["random_400m_577_tokens"] = str(
                write_larger(root / "577", width=1536, layers=14, side=384)
            )
        figures: dict[str, float] = {}
        for name, folder in models.items():
            parameters = parameters_of(Path(folder))
            kept = kept_by(Path(folder), parameters)
            figures[f"{name}_billion_parameters"] = round(parameters, 4)
            for width in WIDTHS:
                compare(
                    figures,
                    f"{name}_{width}",
                    estimate_gb(parameters, width, kept=kept),
                    measure(folder, width, study),
                )
        folder = models["random_100m"]
        parameters = parameters_of(Path(folder))
        kept = kept_by(Path(folder), parameters)
        compare(
            figures,
            "random_100m_fp32_gradients",
            estimate_gb(parameters, "fp32", kept=kept, gradients=True),
            measure(folder, "fp32", study, "--heatmap", "integrated_gradients"),
        )
    print(json.dumps(figures))


def compare(figures: dict[str, float], name: str, predicted: float, measured: float) -> None:
    figures[f"{name}_gb"] = round(measured, 2)
    figures[f"{name}_predicted_to_measured"] = round(predicted / measured, 2)
    print(f"{name}: {measured:.2f} GB, predicted {predicted:.2f} GB", flush=True)


if __name__ == "__main__":
    main()
