"""`medvqa tune`: an adapter for any served model, from a file of cases."""

from pathlib import Path
from typing import Annotated

import typer

from medvqa.cli.opening import quieten_libraries
from medvqa.cli.progress import show_progress
from medvqa.models.checkpoints import DEFAULT_MODEL
from medvqa.tuning.adaptation import Tuned, tune_adapter
from medvqa.tuning.plan import Plan, Precision, Quantisation
from medvqa.types import NOT_FOR_DIAGNOSIS

_STOPPED = 130


def tune(
    dataset: Annotated[Path, typer.Argument(help="Cases as .jsonl, or a folder with cases.jsonl.")],
    *,
    base: Annotated[str, typer.Option(help="Folder or hub name; else the shipped model.")] = DEFAULT_MODEL,
    out: Annotated[Path, typer.Option(help="Folder for the adapter; a stopped run goes on.")],
    epochs: Annotated[int, typer.Option(min=1, help="Times that every case is read.")] = 3,
    batch_size: Annotated[int, typer.Option(min=1, help="Cases at once, in each process.")] = 8,
    accumulate: Annotated[int, typer.Option(min=1, help="Batches to a step.")] = 1,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="The highest one.")] = 2e-4,
    rank: Annotated[
        int | None, typer.Option(min=1, help="Of the adapter; else up to 16 and under 5 % of the parameters.")
    ] = None,
    targets: Annotated[
        str, typer.Option(help="Layers to adapt: all-linear, or names such as q_proj,v_proj.")
    ] = "all-linear",
    precision: Annotated[Precision, typer.Option(help="To compute in; no is float32.")] = "no",
    quantise: Annotated[
        Quantisation | None, typer.Option(help="Hold the base in fewer bits; needs an NVIDIA GPU.")
    ] = None,
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Less memory, about a third more time.")
    ] = False,
    augment: Annotated[
        bool, typer.Option("--augment", help="Vary brightness and contrast of training images.")
    ] = False,
    patience: Annotated[
        int, typer.Option(min=0, help="Validations without gain before stopping; 0 for never.")
    ] = 3,
    validate_every: Annotated[
        int | None, typer.Option(min=1, help="Steps; else an epoch, and 500 at most.")
    ] = None,
    save_every: Annotated[int, typer.Option(min=1, help="Steps that a kill may cost at most.")] = 50,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images ahead.")] = 0,
    licence: Annotated[str | None, typer.Option(help="Of the adapter, for its card, such as mit.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of order, split and first weights.")] = 0,
) -> None:
    """Tune a model with LoRA on questions, images and right answers; --adapter then takes the result.

    Example: medvqa tune cases.jsonl --base default --out adapter

    The val split tells when to stop; where the file has none, a tenth of the groups does. Ctrl+C keeps the
    state, and the same command goes on. On several GPUs: torchrun --nproc-per-node 2 -m medvqa tune DATASET
    """
    quieten_libraries()
    plan = Plan(
        epochs=epochs,
        batch_size=batch_size,
        accumulate=accumulate,
        learning_rate=learning_rate,
        rank=rank,
        targets=targets,
        precision=precision,
        quantise=quantise,
        checkpointing=checkpointing,
        augment=augment,
        patience=patience,
        validate_every=validate_every,
        save_every=save_every,
        workers=workers,
        licence=licence,
        seed=seed,
    )
    with show_progress() as bars:
        bar = bars.add_task("loading", total=None)

        def tell(text: str, step: int, steps: int) -> None:
            bars.update(bar, description=text, completed=step, total=steps)

        tuned = tune_adapter(dataset, base, out, plan=plan, progress=tell)
    if tuned.first:
        _show(tuned, base, out)
    if not tuned.finished:
        raise typer.Exit(_STOPPED)


def _show(tuned: Tuned, base: str, out: Path) -> None:
    state, share = tuned.state, tuned.trainable / tuned.parameters
    typer.echo(
        f"trained {tuned.trainable:,} of {tuned.parameters:,} parameters ({share:.2%}), rank {tuned.rank}"
    )
    if not tuned.finished:
        typer.echo(f"stopped after step {state.step} of {tuned.steps}; the same command goes on from there")
        return
    before, after = state.validations[0], state.best
    typer.echo(f"best after step {after.step} of {state.step}, on the validation cases:")
    for kind, (right, count) in after.right.items():
        typer.echo(f"  {kind}: {before.right[kind][0]} of {count} right before, {right} after")
    typer.echo(f"  loss: {before.loss:.3f} before, {after.loss:.3f} after")
    model = "" if base == DEFAULT_MODEL else f" --model {base}"
    typer.echo(f"ask it with: medvqa ask STUDY QUESTION{model} --adapter {out}")
    typer.echo(NOT_FOR_DIAGNOSIS)
