"""`medvqa evaluate`: the honest scoreboard of a model, or figures on simulated findings of known place."""

import json
import time
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from medvqa.cases import Case, divided_groups, read_cases
from medvqa.cli.findings import evaluate_findings
from medvqa.cli.opening import quieten_libraries
from medvqa.cli.options import AdapterOption, JsonOption
from medvqa.cli.progress import show_progress
from medvqa.errors import TrainingError
from medvqa.evaluation.answers import Answers, answer_cases
from medvqa.evaluation.description import describe_board, describe_duplicates, describe_identity
from medvqa.evaluation.duplicates import Duplicate, count_images, find_duplicates
from medvqa.evaluation.page import write_page
from medvqa.evaluation.scoreboard import FIGURES, ROWS, Scoreboard, choose_split, measure
from medvqa.heatmaps import HEATMAPS
from medvqa.models.checkpoints import DEFAULT_MODEL, find_checkpoint
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.loading import load_model
from medvqa.simulated_findings import read_findings
from medvqa.types import NOT_FOR_DIAGNOSIS, HeatmapMethod, Precision

CASES = "cases.jsonl"
FINDINGS = "findings.jsonl"
_WIDTH = 110
"""Letters that the table needs."""


def evaluate(
    dataset: Annotated[
        Path,
        typer.Argument(help="A .jsonl of cases, a folder with cases.jsonl, or one of `medvqa simulate`."),
    ],
    *,
    model: Annotated[str | None, typer.Option(help="Folder or hub name; else the shipped model.")] = None,
    adapter: AdapterOption = None,
    precision: Annotated[
        Precision | None, typer.Option(help="Of the weights; int8 is for large models on a CPU.")
    ] = None,
    split: Annotated[
        Literal["train", "val", "test"] | None,
        typer.Option(help="Which cases; else test and those without a split, or val where there are none."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many cases, drawn by --seed, or findings.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Also write a page with plots and the worst answers. It HOLDS THEIR IMAGES."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of other images, random maps and intervals.")] = 0,
    as_json: JsonOption = False,
    heatmaps: Annotated[
        bool, typer.Option("--heatmaps", help="Measure heatmaps on simulated findings.")
    ] = False,
    method: Annotated[
        list[str] | None, typer.Option(help=f"Only this heatmap; repeat for several: {', '.join(HEATMAPS)}.")
    ] = None,
    randomised: Annotated[
        int,
        typer.Option(
            min=0, help="Compare maps of so many findings with those of random weights, and keep it."
        ),
    ] = 0,
) -> None:
    """Measure a model's answers beside three that never saw the image (figures: docs/evaluation.md).

    Example: medvqa evaluate cases.jsonl --html scoreboard.html

    In a folder that `medvqa simulate` wrote, --heatmaps measures heatmaps against the known places.
    """
    unknown = [name for name in method or () if name not in HEATMAPS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is not one of {', '.join(HEATMAPS)}", param_hint="--method")
    quieten_libraries()
    if _holds_findings(dataset, wanted=heatmaps or bool(method) or randomised > 0):
        findings = read_findings(dataset)[:limit]
        evaluate_findings(
            load_model(model or DEFAULT_MODEL, adapter=adapter, precision=precision),
            findings,
            cast("list[HeatmapMethod]", method or [*HEATMAPS]) if heatmaps else [],
            randomised=randomised,
            kept_in=find_checkpoint(adapter or model or DEFAULT_MODEL),
            seed=seed,
            as_json=as_json,
        )
        return
    everything = read_cases(dataset)
    cases = choose_split(everything, split)
    if limit is not None and limit < len(cases):
        drawn = np.sort(np.random.default_rng(seed).choice(len(cases), limit, replace=False))
        cases = tuple(cases[place] for place in drawn)
    training = [case for case in everything if case.split == "train"] if cases[0].split != "train" else []
    started = time.perf_counter()
    loaded = load_model(model or DEFAULT_MODEL, adapter=adapter, precision=precision)
    answers, duplicates = _run(loaded, cases, training, seed=seed)
    board = measure(cases, answers, training, seed=seed)
    described = describe_board(board) | {
        "cases": len(cases),
        "groups": len({case.group for case in cases}),
        "duplicates": describe_duplicates(duplicates, dataset if dataset.is_dir() else dataset.parent),
        "divided_groups": len(divided_groups(everything)),
        "seconds": round(time.perf_counter() - started, 1),
        "model": describe_identity(loaded.identity),
        "seed": seed,
    }
    if html is not None:
        _write(html, write_page(cases, answers, board, described))
    if as_json:
        typer.echo(json.dumps(described, indent=2, ensure_ascii=False))
    else:
        _show(board, described, html)


def _holds_findings(dataset: Path, *, wanted: bool) -> bool:
    """Whether to measure findings; where there are cases too, only if they are wanted."""
    if (dataset / FINDINGS).is_file() and (wanted or not (dataset / CASES).is_file()):
        return True
    if wanted:
        raise TrainingError(f"{dataset} has no {FINDINGS}, which this needs; write it with medvqa simulate")
    if dataset.is_dir() and not (dataset / CASES).is_file():
        raise TrainingError(
            f"{dataset} holds neither {CASES} nor {FINDINGS}; name a .jsonl file, or write a folder with "
            "medvqa simulate"
        )
    return False


def _run(
    model: HuggingFaceModel, cases: tuple[Case, ...], training: list[Case], *, seed: int
) -> tuple[Answers, tuple[Duplicate, ...]]:
    with show_progress() as progress:
        if training:
            bar = progress.add_task("duplicates", total=count_images(cases) + count_images(training))
            duplicates = find_duplicates(cases, training, on_read=lambda: progress.advance(bar))
        else:
            duplicates = ()
        asking = progress.add_task("answers", total=3 * len(cases))
        answers = answer_cases(
            model, cases, seed=seed, on_answered=lambda count: progress.advance(asking, count)
        )
    return answers, duplicates


def _write(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(
            f"{path} cannot be written: {error.strerror}", param_hint="--html"
        ) from error


def _show(board: Scoreboard, described: dict[str, Any], html: Path | None) -> None:
    console = Console()
    console.width = max(console.width, _WIDTH)
    table = Table("figure", title=f"{described['cases']} cases of {described['groups']} groups", box=None)
    for name in ROWS:
        table.add_column(name.replace("_", " "), justify="right")
    for figure in FIGURES:
        if board.rows["model"].figures[figure] is not None:
            table.add_row(figure.replace("_", " "), *(_write_figure(board, name, figure) for name in ROWS))
    table.add_section()
    for kind, row in board.rows["model"].by_kind.items():
        shown = [_write_figure(board, name, "exact_match", kind) for name in ROWS]
        table.add_row(f"{kind} ({row.cases})", *shown)
    console.print(table)
    for line in _notes(described):
        console.print(line, markup=False, soft_wrap=True)
    if html is not None:
        console.print(f"Written to {html}, with images of the worst answers.", markup=False, soft_wrap=True)
    console.print(NOT_FOR_DIAGNOSIS)


def _write_figure(board: Scoreboard, name: str, figure: str, kind: str | None = None) -> str:
    row = board.rows[name] if kind is None else board.rows[name].by_kind[kind]
    value, interval = row.figures[figure], row.intervals[figure]
    if value is None or interval is None:
        return ""
    return f"{value:.3f} ({interval[0]:.3f}-{interval[1]:.3f})"


def _notes(described: dict[str, Any]) -> list[str]:
    counted = "train split" if described["majority_from"] == "train" else "measured cases themselves"
    known = "calibrated" if described["confidence_calibrated"] else "not calibrated for all"
    notes = [
        "Below the figures: exact match by kind, and how many cases. In brackets: 95 % intervals by group.",
        f"Majority: the most frequent answers to each kind in the {counted}.",
        f"Confidence ({known}): error {described['calibration_error']:.3f}; "
        f"medvqa ask would say that it can't tell to {described['abstained']:.1%}.",
        f"medvqa ask would refuse the images of {described['gate_refused'] + described['unfamiliar']} cases; "
        f"they count here. {described['not_asked']} questions could not be read by the model.",
        f"{described['seconds_per_answer']:.3f} s an answer, {described['tokens_per_second']:.0f} tokens a "
        f"second, {described['peak_memory_mb']:.0f} MB at most, {described['seconds']:.0f} s in all.",
    ]
    if described["divided_groups"]:
        notes.append(
            f"WARNING: {described['divided_groups']} groups are in several splits: known by heart, perhaps."
        )
    if described["duplicates"]:
        notes.append(
            f"WARNING: {len(described['duplicates'])} measured images are nearly those of training, "
            f"such as {described['duplicates'][0]['image']}."
        )
    return notes
