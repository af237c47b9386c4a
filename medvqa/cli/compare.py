"""`medvqa compare`: the release gate between a model that is there and one that would take its place."""

import json
from pathlib import Path
from typing import Annotated, Literal, cast

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from medvqa.cases import read_cases
from medvqa.cli.opening import quieten_libraries
from medvqa.cli.options import JsonOption
from medvqa.cli.progress import show_progress
from medvqa.evaluation.candidates import Measured, draw_sample, measure_model
from medvqa.evaluation.comparison import (
    Comparison,
    compare,
    describe_comparison,
    explain_refusal,
)
from medvqa.evaluation.scoreboard import choose_split
from medvqa.heatmaps import HEATMAPS
from medvqa.models.checkpoints import DEFAULT_MODEL, find_checkpoint
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.loading import load_model
from medvqa.types import NOT_FOR_DIAGNOSIS, HeatmapMethod

_WIDTH = 110
"""Letters that the table needs."""


def compare_models(
    a: Annotated[str, typer.Argument(help="What is there: an adapter or model, folder or hub name.")],
    b: Annotated[str, typer.Argument(help="What would take its place.")],
    dataset: Annotated[Path, typer.Argument(help="A .jsonl of cases, or a folder with cases.jsonl.")],
    *,
    base: Annotated[str, typer.Option(help="The model that adapters were tuned from.")] = DEFAULT_MODEL,
    split: Annotated[
        Literal["train", "val", "test"] | None,
        typer.Option(help="Which cases; else test and those without a split, or val where there are none."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="At most so many cases, drawn by --seed.")] = None,
    sample: Annotated[
        int, typer.Option(min=0, help="Answerable cases whose image effect is measured; 0 for none.")
    ] = 100,
    heatmaps: Annotated[
        int, typer.Option(min=0, help="Answerable cases whose heatmap is graded; 0 for none.")
    ] = 40,
    method: Annotated[str, typer.Option(help=f"Of the heatmaps: {', '.join(HEATMAPS)}.")] = "attention",
    certainty: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Refuse a fall that is as sure as this.")
    ] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Of samples, random maps and intervals.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Say whether B may take A's place: exit code 1 where accuracy or what answers rest on fell.

    Example: medvqa compare default runs/adapter cases.jsonl

    Both answer the same cases; docs/evaluation.md tells what is compared and how far each figure may fall.
    """
    if method not in HEATMAPS:
        raise typer.BadParameter(f"{method!r} is not one of {', '.join(HEATMAPS)}", param_hint="--method")
    quieten_libraries()
    cases = choose_split(read_cases(dataset), split)
    if limit is not None and limit < len(cases):
        drawn = np.sort(np.random.default_rng(seed).choice(len(cases), limit, replace=False))
        cases = tuple(cases[place] for place in drawn)
    chosen = draw_sample(cases, effects=sample, heatmaps=heatmaps, seed=seed)
    models = {"A": _load(a, base), "B": _load(b, base)}
    measured: dict[str, Measured] = {}
    with show_progress() as progress:
        count = len(cases) + len(chosen.effects) + len(chosen.heatmaps)
        for name, model in models.items():
            bar = progress.add_task(name, total=count)
            measured[name] = measure_model(
                model,
                cases,
                chosen,
                method=cast("HeatmapMethod", method),
                seed=seed,
                on_done=lambda done, bar=bar: progress.advance(bar, done),
            )
    found = compare(cases, chosen, measured["A"], measured["B"], certainty=certainty, seed=seed)
    if as_json:
        typer.echo(json.dumps({**describe_comparison(found), "method": method, "seed": seed}, indent=2))
    else:
        _show(found)
    if not found.passes:
        raise typer.Exit(1)


def _load(name: str, base: str) -> HuggingFaceModel:
    if name != DEFAULT_MODEL and (find_checkpoint(name) / "adapter_config.json").is_file():
        return load_model(base, adapter=name)
    return load_model(name)


def _show(found: Comparison) -> None:
    console = Console()
    console.width = max(console.width, _WIDTH)
    table = Table(title=f"{found.cases} cases of {found.groups} groups", box=None)
    for head in ("figure", "A", "B", "change (95 %)", "may worsen by", ""):
        table.add_column(head, justify="left" if head == "figure" else "right")
    for one in found.figures:
        low, high = one.interval
        table.add_row(
            one.name,
            f"{one.first:.3f}",
            f"{one.second:.3f}",
            f"{one.change:+.3f} ({low:+.3f} to {high:+.3f})",
            f"{one.tolerance:.3f}",
            "REFUSED" if one.refused else "",
        )
    console.print(table)
    console.print(
        f"A alone is right {found.only_first} times, B alone {found.only_second} times: McNemar p = "
        f"{found.mcnemar:.3g}. Image effect of {found.sampled} cases, heatmaps of {found.heatmaps}. "
        f"A fall is refused where it is larger than it may be with a certainty of {found.certainty:g}.",
        soft_wrap=True,
    )
    console.print(explain_refusal(found), markup=False, soft_wrap=True)
    console.print(NOT_FOR_DIAGNOSIS)
