"""`medvqa evaluate`: answers and heatmaps against simulated findings of known place."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from medvqa.checks.randomisation import Randomisation, randomise
from medvqa.cli.opening import quieten_libraries
from medvqa.evaluation.intervals import Interval
from medvqa.evaluation.scores import Scores, score
from medvqa.heatmaps import HEATMAPS
from medvqa.models.calibration import Calibration, write_calibration
from medvqa.models.checkpoints import DEFAULT_MODEL, find_checkpoint
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.loading import load_model
from medvqa.simulated_findings import SimulatedFinding, read_findings
from medvqa.study import read_study
from medvqa.types import HeatmapMethod

_SHOWN = {
    "pointing": "pointing",
    "pointing_strict": "strict",
    "overlap": "overlap",
    "energy": "energy",
    "good": "good",
    "good_beats_random": "good beats random",
    "deletion_auc": "deletion",
    "insertion_auc": "insertion",
    "seconds": "seconds",
}
"""Figures of a map, with the heads of their columns."""
_WIDTH = 130
"""Letters that the table of heatmaps needs."""


def evaluate(
    findings: Annotated[Path, typer.Argument(help="A folder that `medvqa simulate` wrote.")],
    *,
    heatmaps: Annotated[bool, typer.Option("--heatmaps", help="Measure heatmaps too.")] = False,
    method: Annotated[
        list[str] | None, typer.Option(help=f"Only this heatmap; repeat for several: {', '.join(HEATMAPS)}.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many findings.")] = None,
    randomised: Annotated[
        int,
        typer.Option(
            min=0, help="Compare maps of so many findings with those of random weights, and keep it."
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of random maps, weights and intervals.")] = 0,
    model: Annotated[str | None, typer.Option(help="Folder or hub name; else the shipped model.")] = None,
    adapter: Annotated[str | None, typer.Option(help="Folder or hub name of a LoRA adapter.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for scripts.")] = False,
) -> None:
    """Measure a model's answers, and with --heatmaps its heatmaps, on simulated findings.

    Example: medvqa evaluate findings --heatmaps --limit 50

    Every figure is a mean with its 95 % bootstrap interval by image, and holds for simulated findings.
    """
    unknown = [name for name in method or () if name not in HEATMAPS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is not one of {', '.join(HEATMAPS)}", param_hint="--method")
    quieten_libraries()
    read = read_findings(findings)[:limit]
    chosen = cast("list[HeatmapMethod]", method or [*HEATMAPS])
    methods = chosen if heatmaps else []
    loaded = load_model(model or DEFAULT_MODEL, adapter=adapter)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("findings", total=len(read))
        scores = score(loaded, read, methods, seed=seed, on_scored=lambda: progress.advance(bar))
    alike = _randomise(loaded, read[:randomised], methods, seed=seed)
    if alike:
        _keep(loaded, alike, find_checkpoint(adapter or model or DEFAULT_MODEL))
    if as_json:
        typer.echo(json.dumps(describe(scores, alike, count=len(read), seed=seed), indent=2))
    else:
        console = Console()
        console.width = max(console.width, _WIDTH)
        _show(scores, alike, count=len(read), console=console)


def describe(scores: Scores, alike: tuple[Randomisation, ...], *, count: int, seed: int) -> dict[str, Any]:
    """The figures as `--json` prints them."""
    return {
        "findings": count,
        "simulated": True,
        "seed": seed,
        "maps": {name: _plain(figures) for name, figures in scores.maps.items()},
        "answers": _plain(scores.answers),
        "randomisation": [asdict(one) for one in alike],
    }


def _plain(figures: Mapping[str, Interval | None]) -> dict[str, Any]:
    return {name: None if one is None else asdict(one) for name, one in figures.items()}


def _randomise(
    model: HuggingFaceModel,
    findings: tuple[SimulatedFinding, ...],
    methods: list[HeatmapMethod],
    *,
    seed: int,
) -> tuple[Randomisation, ...]:
    asked = [(read_study(one.image).images[0], one.questions[0].question) for one in findings]
    return randomise(model, asked, methods, seed=seed) if asked and methods else ()


def _keep(model: HuggingFaceModel, alike: tuple[Randomisation, ...], folder: Path) -> None:
    """Beside the model, where its heatmaps are graded by it."""
    identity = model.identity
    known = model.calibration or Calibration(
        weights_sha256=identity.weights_sha256, adapter_sha256=identity.adapter_sha256
    )
    measured = {**known.randomisation, **{one.method: one.outlasting for one in alike}}
    try:
        write_calibration(folder, replace(known, randomisation=measured))
    except OSError as error:
        raise typer.BadParameter(
            f"{folder} cannot be written to: {error.strerror}", param_hint="--randomised"
        ) from error


def _show(scores: Scores, alike: tuple[Randomisation, ...], *, count: int, console: Console) -> None:
    if scores.maps:
        table = Table(title=f"Heatmaps on {count} simulated findings: mean and 95 % interval")
        table.add_column("map", no_wrap=True)
        for head in _SHOWN.values():
            table.add_column(head, justify="right")
        for name, figures in scores.maps.items():
            table.add_row(name, *(_write(figures.get(figure)) for figure in _SHOWN))
        console.print(table)
    answers = Table(title=f"Answers on {count} simulated findings: mean and 95 % interval")
    answers.add_column("pairs")
    answers.add_column("share", justify="right")
    for name, figure in scores.answers.items():
        answers.add_row(name.replace("_", " "), _write(figure))
    console.print(answers)
    for one in alike:
        console.print(
            f"{one.method}: rank correlation with random weights {one.outlasting:+.2f}", markup=False
        )


def _write(figure: Interval | None) -> str:
    return "" if figure is None else f"{figure.mean:.2f}\n{figure.low:.2f}-{figure.high:.2f}"
