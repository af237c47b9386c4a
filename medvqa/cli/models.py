"""`medvqa models`: which models there are, which lie on this disk, and which to take."""

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from medvqa.cli.options import JsonOption
from medvqa.models.cached import OnDisk, describe_size, find_on_disk, models_on_disk
from medvqa.models.catalogue import ROUTES, TASKS, Checkpoint, Task, read_catalogue
from medvqa.models.choosing import Choice, LeftOut, Recommendation, Wanted, recommend
from medvqa.models.memory import WEIGHT_BYTES, estimate_gb
from medvqa.types import NOT_FOR_DIAGNOSIS, Precision

app = typer.Typer(
    invoke_without_command=True,
    add_completion=False,
    help="List published models, with what lies on this disk; choose one by constraints.",
)
_WIDTH = 170
"""Letters that the table needs, of which names take 56: they are copied from here, and must not break."""


@app.callback()
def list_models(
    context: typer.Context,
    task: Annotated[Task | None, typer.Option(help="Those made for this alone.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List models: family, tasks, memory, licence, and what of them is on this disk.

    Example: medvqa models --task ocr

    Memory is an estimate for one question with its checks, in bfloat16. Sources: `--json`, or docs/models.md.
    """
    if context.invoked_subcommand is not None:
        return
    on_disk = models_on_disk()
    listed = [one for one in read_catalogue() if task is None or task in one.tasks]
    others = [one for name, one in on_disk.items() if name not in {known.name for known in read_catalogue()}]
    if as_json:
        described = {
            "models": [describe(one, find_on_disk(one.name, on_disk)) for one in listed],
            "also_on_disk": [asdict(one) for one in others],
            "notice": NOT_FOR_DIAGNOSIS,
        }
        typer.echo(json.dumps(described, indent=2))
        return
    console = _console()
    table = Table(box=None, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for title in ("family", "made for"):
        table.add_column(title, overflow="fold")
    table.add_column("memory", justify="right", no_wrap=True)
    for title in ("licence", "here"):
        table.add_column(title, overflow="fold")
    for one in listed:
        table.add_row(*_row(one, find_on_disk(one.name, on_disk)))
    console.print(table)
    for one in others:
        console.print(f"also on this disk: {escape(one.name)}, {_size(one)}")
    console.print("\nask one with: medvqa ask STUDY QUESTION --model NAME")
    console.print("choose one with: medvqa models recommend --task vqa --memory 16 --open")
    console.print(f"[dim]{NOT_FOR_DIAGNOSIS}[/]")


@app.command("recommend")
def recommend_model(
    *,
    task: Annotated[Task, typer.Option(help="What it has to be made for.")] = "vqa",
    memory: Annotated[
        float | None, typer.Option(min=0, metavar="GB", help="What the GPU, or else the machine, has.")
    ] = None,
    open_only: Annotated[
        bool, typer.Option("--open", help="Free to use, commercially too, and nothing to accept first.")
    ] = False,
    medical: Annotated[bool, typer.Option("--medical", help="Trained on medical images.")] = False,
    gradients: Annotated[
        bool,
        typer.Option("--gradients", help="Heatmaps by gradients are wanted, such as Integrated Gradients."),
    ] = False,
    precision: Annotated[Precision, typer.Option(help="Of the weights.")] = "bf16",
    as_json: JsonOption = False,
) -> None:
    """Choose a model by stated constraints, and say why it and not others.

    Example: medvqa models recommend --task vqa --memory 16 --open

    Published figures are of general benchmarks for the most part: measure on your own cases before you rely
    on one, with `medvqa evaluate`. Where nothing fits, one sentence names what to relax; the exit code is 5.
    """
    wanted = Wanted(
        task=task,
        memory_gb=memory,
        open_only=open_only,
        medical=medical,
        gradients=gradients,
        precision=precision,
    )
    chosen = recommend(wanted, on_disk=models_on_disk())
    if as_json:
        typer.echo(json.dumps(describe_recommendation(chosen), indent=2))
    else:
        _show(chosen, _console())


def describe(checkpoint: Checkpoint, on_disk: OnDisk | None) -> dict[str, Any]:
    """One model as `--json` prints it."""
    size = checkpoint.parameters
    return asdict(checkpoint) | {
        "tasks": [task for task in TASKS if task in checkpoint.tasks],
        "memory_gb": None
        if size is None
        else {width: round(estimate_gb(size, width, kept=checkpoint.kept), 1) for width in WEIGHT_BYTES},
        "on_disk": None if on_disk is None else asdict(on_disk),
    }


def describe_recommendation(chosen: Recommendation) -> dict[str, Any]:
    """A recommendation as `--json` prints it."""

    def described(choice: Choice) -> dict[str, Any]:
        return describe(choice.checkpoint, choice.on_disk) | {"reasons": list(choice.reasons)}

    def left(one: LeftOut) -> dict[str, Any]:
        return {"name": one.checkpoint.name, "because": list(one.because)}

    return {
        "wanted": asdict(chosen.wanted),
        "rule": chosen.rule,
        "choice": described(chosen.choices[0]),
        "runners_up": [described(choice) for choice in chosen.choices[1:]],
        "left_out": [left(one) for one in chosen.left_out],
        "notice": NOT_FOR_DIAGNOSIS,
    }


def _show(chosen: Recommendation, console: Console) -> None:
    first, *others = chosen.choices
    console.print(f"[bold]{escape(first.checkpoint.name)}[/]: {escape('; '.join(first.reasons))}")
    if first.checkpoint.note:
        console.print(escape(first.checkpoint.note))
    console.print(f"\nof {len(chosen.choices)} that fit, by {escape(chosen.rule)}")
    for other in others:
        console.print(f"  {escape(other.checkpoint.name)}: {escape('; '.join(other.reasons[1:]))}")
    if chosen.left_out:
        console.print("\nleft out")
    for one in chosen.left_out:
        console.print(f"  {escape(one.checkpoint.name)}: {escape('; '.join(one.because))}")
    way = ROUTES[first.checkpoint.route]
    if first.checkpoint.route == "ask":
        way = f"medvqa ask STUDY QUESTION --model {first.checkpoint.name}"
    console.print(f"\nuse it: {escape(way)}")
    console.print(f"[dim]{NOT_FOR_DIAGNOSIS}[/]")


def _row(checkpoint: Checkpoint, on_disk: OnDisk | None) -> tuple[str, ...]:
    memory = "" if checkpoint.access == "hosted" else "?"
    if checkpoint.parameters is not None:
        memory = f"{estimate_gb(checkpoint.parameters, 'bf16', kept=checkpoint.kept):.1f} GB"
    if on_disk is not None:
        here = _size(on_disk)
    elif checkpoint.served:
        here = "" if checkpoint.route == "ask" else ROUTES[checkpoint.route]
    else:
        here = "cannot be loaded: docs/models.md"
    tasks = ", ".join(task for task in TASKS if task in checkpoint.tasks)
    licence = (
        checkpoint.licence if checkpoint.access == "open" else f"{checkpoint.licence} ({checkpoint.access})"
    )
    return escape(checkpoint.name), checkpoint.family, tasks, memory, escape(licence), escape(here)


def _size(on_disk: OnDisk) -> str:
    weights = "" if on_disk.complete else ", without weights"
    revision = "" if on_disk.revision is None else f", {on_disk.revision[:8]}"
    place = {"shipped": "shipped", "folder": "a folder", "cache": "cached"}[on_disk.place]
    return f"{place}, {describe_size(on_disk)}{weights}{revision}"


def _console() -> Console:
    console = Console()
    # A pipe has no width of its own, and names that break in two cannot be copied.
    return console if console.is_terminal else Console(width=max(_WIDTH, console.width))
