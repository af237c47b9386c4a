"""What `medvqa evaluate` does with a folder that `medvqa simulate` wrote: truth of known place."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from medvqa.checks.randomisation import Randomisation, randomise
from medvqa.cli.progress import show_progress
from medvqa.evaluation.intervals import Interval
from medvqa.evaluation.scores import Scores, score
from medvqa.models.calibration import Calibration, write_calibration
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.simulated_findings import SimulatedFinding
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


def evaluate_findings(
    model: HuggingFaceModel,
    findings: Sequence[SimulatedFinding],
    methods: Sequence[HeatmapMethod],
    *,
    randomised: int,
    kept_in: Path,
    seed: int,
    as_json: bool,
) -> None:
    """Measure, print, and keep beside the model what comparing with random weights found.

    Args:
        model: What answers.
        findings: What it is asked about.
        methods: Heatmaps to measure; none for answers alone.
        randomised: How many findings to compare with random weights.
        kept_in: Folder of the model or adapter.
        seed: Of random maps, weights and intervals.
        as_json: Print JSON in place of tables.
    """
    with show_progress() as progress:
        bar = progress.add_task("findings", total=len(findings))
        scores = score(model, findings, methods, seed=seed, on_scored=lambda: progress.advance(bar))
    alike = _randomise(model, findings[:randomised], methods, seed=seed)
    if alike:
        _keep(model, alike, kept_in)
    if as_json:
        typer.echo(json.dumps(_describe(scores, alike, count=len(findings), seed=seed), indent=2))
    else:
        console = Console()
        console.width = max(console.width, _WIDTH)
        _show(scores, alike, count=len(findings), console=console)


def _describe(scores: Scores, alike: tuple[Randomisation, ...], *, count: int, seed: int) -> dict[str, Any]:
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
    findings: Sequence[SimulatedFinding],
    methods: Sequence[HeatmapMethod],
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
