"""The run folder: settings, environment and curves."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from medvqa.errors import TrainingError

if TYPE_CHECKING:
    from accelerate import Accelerator

    from medvqa.tuning.division import Division
    from medvqa.tuning.plan import Plan
    from medvqa.tuning.state import State

_LIBRARIES = ("medvqa", "torch", "transformers", "peft", "accelerate", "bitsandbytes", "numpy", "safetensors")


def describe_run(plan: Plan, division: Division, base: Mapping[str, str], processes: int) -> dict[str, Any]:
    """Everything that decides a run, ready for JSON."""
    return {
        "plan": asdict(plan),
        "base": dict(base),
        "data": {"sha256": division.sha256, **division.counts},
        "processes": processes,
    }


def require_same(run: Path, described: Mapping[str, Any]) -> None:
    """Refuse to go on with a run in the folder `run` that was begun otherwise.

    Raises:
        TrainingError: If it was.
    """
    path = run / "config.json"
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = sorted(name for name in described if before[name] != described[name])
        if "plan" in changed:
            settings = described["plan"]
            names = [name for name in settings if before["plan"].get(name) != settings[name]]
            changed[changed.index("plan")] = ", ".join(names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{path} is damaged; remove {run} to begin anew") from error
    if changed:
        raise TrainingError(
            f"{run} holds a run that was begun with another {', '.join(changed)}; give the same command to "
            "go on, or another --out"
        )


def write_settings(run: Path, described: Mapping[str, Any], accelerator: Accelerator) -> None:
    """Write `config.json` and `environment.json`."""
    (run / "config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    device = accelerator.device
    environment = {
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": accelerator.num_processes,
        "distributed": str(accelerator.distributed_type.value),
        "precision": accelerator.mixed_precision,
        "threads": torch.get_num_threads(),
        "seed": described["plan"]["seed"],
    }
    (run / "environment.json").write_text(json.dumps(environment, indent=2) + "\n", encoding="utf-8")


def write_curves(run: Path, state: State) -> None:
    """Write `curves.csv`, a line a step, and `curves.png`."""
    validations = {one.step: one for one in state.validations}
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["step", "loss", "validation_loss", "validation_exact_match"])
    for step in range(state.step + 1):
        loss = f"{state.losses[step - 1]:.6g}" if step else ""
        measured = validations.get(step)
        told = ["", ""] if measured is None else [f"{measured.loss:.6g}", f"{measured.exact_match:.4f}"]
        rows.writerow([step, loss, *told])
    (run / "curves.csv").write_text(table.getvalue(), encoding="utf-8")
    _draw(run / "curves.png", state)


def _draw(path: Path, state: State) -> None:
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    losses, answers = figure.subplots(1, 2)
    steps = [one.step for one in state.validations]
    losses.plot(range(1, state.step + 1), state.losses, linewidth=0.8, alpha=0.6, label="training")
    losses.plot(steps, [one.loss for one in state.validations], marker="o", label="validation")
    losses.set(xlabel="step", ylabel="loss (nats a token)", ylim=(0, None))
    losses.legend()
    answers.plot(steps, [one.exact_match for one in state.validations], marker="o")
    answers.set(xlabel="step", ylabel="validation exact match", ylim=(0, 1.02))
    figure.savefig(path, dpi=120)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
