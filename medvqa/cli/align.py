"""`medvqa align`: the first training of a composed model, of its bridge alone."""

from pathlib import Path
from typing import Annotated

import typer

from medvqa.cli.opening import quieten_libraries
from medvqa.cli.progress import show_progress
from medvqa.tuning.alignment import AlignmentPlan, align_bridge
from medvqa.types import NOT_FOR_DIAGNOSIS


def align(
    model: Annotated[str, typer.Argument(help="Folder or hub name of a composed model.")],
    *,
    cases: Annotated[Path, typer.Option(help="Cases as .jsonl, or a folder with cases.jsonl.")],
    out: Annotated[Path, typer.Option(help="Folder for the whole model; new or empty.")],
    epochs: Annotated[int, typer.Option(min=1, help="Times that every case is read.")] = 20,
    batch_size: Annotated[int, typer.Option(min=2, help="Cases to be told apart at once.")] = 32,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="The highest one.")] = 1e-3,
    seed: Annotated[int, typer.Option(min=0, help="Of order, and of the split where the file has none.")] = 0,
) -> None:
    """Let the bridge learn to say of an image what sentences say of it; all else in the model is frozen.

    Example: medvqa align seeing --cases cases.jsonl --out aligned

    Go on with medvqa tune --base ALIGNED, which teaches the model to answer.
    """
    quieten_libraries()
    plan = AlignmentPlan(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed)
    with show_progress() as bars:
        bar = bars.add_task("loading", total=None)

        def tell(text: str, step: int, steps: int) -> None:
            bars.update(bar, description=text, completed=step, total=steps)

        aligned = align_bridge(cases, model, out, plan=plan, progress=tell)
    before, after = aligned.before, aligned.after
    typer.echo(f"trained {aligned.trained:,} of {aligned.parameters:,} parameters")
    typer.echo(f"best after epoch {aligned.epoch} of {epochs}, on the validation cases:")
    typer.echo(f"  loss: {before.loss:.3f} before, {after.loss:.3f} after")
    typer.echo(
        f"  images that find a sentence of theirs: {before.retrieval:.3f} before, {after.retrieval:.3f} "
        f"after; {after.chance:.3f} by chance"
    )
    typer.echo(f"go on with: medvqa tune {cases} --base {out} --out ADAPTER")
    typer.echo(NOT_FOR_DIAGNOSIS)
