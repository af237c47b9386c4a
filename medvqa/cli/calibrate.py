"""`medvqa calibrate`: what a model's confidence is worth, and when it had better not answer."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from medvqa.cli.opening import quieten_libraries
from medvqa.cli.options import AdapterOption
from medvqa.cli.progress import show_progress
from medvqa.errors import ModelError
from medvqa.evaluation.diagram import draw_calibration
from medvqa.evaluation.familiarity import first_half, fit_familiarity
from medvqa.evaluation.figures import measure_confidence
from medvqa.evaluation.questions import (
    Subject,
    ask_all,
    familiar_subjects,
    held_out_subjects,
    phantom_subjects,
    read_lines,
)
from medvqa.models.calibration import Calibration, read_calibration, write_calibration
from medvqa.models.checkpoints import DEFAULT_MODEL, find_checkpoint
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.loading import load_model
from medvqa.types import NOT_FOR_DIAGNOSIS

_PHANTOMS = 120


def calibrate(
    data: Annotated[
        Path, typer.Argument(help="Folder with images.csv (see datasets/README.md), or questions as .jsonl.")
    ],
    *,
    model: Annotated[str, typer.Option(help="Folder or hub name; else the shipped model.")] = DEFAULT_MODEL,
    adapter: AdapterOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the result; else beside the adapter or the model.")
    ] = None,
    alpha: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="Wrong answers to allow among those given.")
    ] = 0.05,
    limit: Annotated[int | None, typer.Option(min=20, help="At most so many images to ask about.")] = None,
    seed: Annotated[int, typer.Option(help="Of wordings, simulated nodules and splits.")] = 20,
) -> None:
    """Ask questions whose answers are known, and keep with the model what its confidence is worth.

    Example: medvqa calibrate ../shared/data --out runs/calibration

    Half of the groups of images fit the confidence and the threshold below which the model says that it can't
    tell; the other half measures them. Writes calibration.json and familiarity.safetensors, which work from
    beside the model, and figures (JSON and PNG). A line of a .jsonl holds image, question, answer and group.
    """
    quieten_libraries()
    # Without what is there: it may belong to other weights, and is about to be replaced.
    loaded = load_model(model, adapter=adapter, calibrated=False)
    asked, familiar, others = _read(data, seed=seed, limit=limit)
    with show_progress() as bars:
        bar = bars.add_task("asking")

        def tell(name: str, done: int, count: int) -> None:
            bars.update(bar, description=name, completed=done, total=count)

        measured = measure_confidence(ask_all(loaded, asked, partial(tell, "asking")), alpha=alpha, seed=seed)
        known, recognised = fit_familiarity(loaded, familiar, others, partial(tell, "looking"))
    beside = find_checkpoint(adapter or model)
    counts = measured.figures["fitted"], measured.figures["measured"]
    kept = replace(
        _kept_before(beside, loaded),
        confidence=measured.confidence,
        abstention=measured.abstention,
        familiarity=known,
        measured_on=(
            f"medvqa calibrate {data.name} --alpha {alpha:g} --seed {seed}: fitted on "
            f"{counts[0]['questions']} questions about {counts[0]['groups']} groups of images, measured on "
            f"{counts[1]['questions']} about {counts[1]['groups']} others"
        ),
    )
    figures = measured.figures | {"familiarity": recognised}
    _write(out or beside, kept, figures)
    _show(figures, out or beside)


def _read(data: Path, *, seed: int, limit: int | None) -> tuple[list[Subject], list[Subject], list[Subject]]:
    """Questions; images that the model is familiar with; and others like these, to be recognised."""
    if data.suffix == ".jsonl":
        asked = read_lines(data, seed=seed)[:limit]
        first = first_half([subject.group for subject in asked])
        familiar = [one for one, early in zip(asked, first, strict=True) if early]
        return asked, familiar, [one for one, early in zip(asked, first, strict=True) if not early]
    asked = held_out_subjects(data, seed=seed, limit=limit)
    familiar = familiar_subjects(data, seed=seed, limit=3 * (limit or 500))
    phantoms, others = (phantom_subjects(_PHANTOMS, seed=one) for one in (seed, seed + 1))
    return asked, [*familiar, *phantoms], [*asked, *others]


def _kept_before(folder: Path, model: HuggingFaceModel) -> Calibration:
    """What else was measured on these weights."""
    weights, adapter = model.identity.weights_sha256, model.identity.adapter_sha256
    nothing = Calibration(weights_sha256=weights, adapter_sha256=adapter)
    try:
        return read_calibration(folder, weights_sha256=weights, adapter_sha256=adapter) or nothing
    except ModelError:  # it belongs to other weights, and is about to be replaced
        return nothing


def _write(folder: Path, kept: Calibration, figures: dict[str, Any]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_calibration(folder, kept)
        (folder / "calibration-figures.json").write_text(
            json.dumps(figures, indent=2) + "\n", encoding="utf-8"
        )
        draw_calibration(figures, folder / "calibration.png")
    except OSError as error:
        raise typer.BadParameter(
            f"{folder} cannot be written to: {error.strerror}", param_hint="--out"
        ) from error


def _show(figures: dict[str, Any], folder: Path) -> None:
    """Print the figures of the half that nothing was fitted on."""
    table = Table("measured on held-out images", "value", "95 %", box=None, pad_edge=False)
    for name, found in figures["measured"].items():
        if isinstance(found, dict):
            low, high = found["interval"]
            table.add_row(name, f"{found['value']:.3f}", f"{low:.3f} to {high:.3f}")
    repeated, known = figures["over_20_splits"], figures["familiarity"]
    error = repeated["error_answered"]
    table.add_row(
        "error_answered, 20 splits", f"{error['mean']:.3f}", f"{error['least']:.3f} to {error['most']:.3f}"
    )
    table.add_row("familiar images refused", f"{known['familiar_refused']:.3f}", "")
    table.add_row("noise refused", f"{known['noise_refused']:.3f}", "")
    console = Console()
    console.print(table)
    if figures["threshold"] is None:
        console.print(f"No threshold keeps the promise of {figures['alpha']:g}: the model never abstains.")
    console.print(f"Written to {folder}. {NOT_FOR_DIAGNOSIS}")
