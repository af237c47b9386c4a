"""`medvqa train`: the default model from nothing."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from accelerate import PartialState
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from medvqa.cli.opening import quieten_libraries
from medvqa.training.default_model import Plan, train_default_model
from medvqa.training.scoreboard import score_model, write_figures


def train(
    data: Annotated[Path, typer.Argument(help="Folder with images.csv; see datasets/README.md.")],
    out: Annotated[Path, typer.Option(help="Folder for stages and result; a stopped run goes on.")] = Path(
        "runs/default"
    ),
    *,
    quick: Annotated[bool, typer.Option(help="A few batches only, to see that everything works.")] = False,
) -> None:
    """Train the small default model from nothing: see, answer in words, tune with LoRA, measure.

    Example: medvqa train ../shared/data --out runs/default

    On several cores or machines: torchrun --nproc-per-node 2 -m medvqa train DATA. It takes about an hour and
    a half on two cores; the result is in OUT/model and can be asked with --model.
    """
    quieten_libraries()
    plan = Plan(see_steps=4, answer_steps=4, tune_steps=2, phantoms=6) if quick else Plan()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task("training")

        def tell(name: str, step: int, steps: int, value: float) -> None:
            bars.update(bar, completed=step, total=steps, description=f"{name} {value:.3f}")

        model = train_default_model(data, out, plan=plan, progress=partial(tell, "loss"))
        if not PartialState().is_main_process:
            return
        figures = score_model(model, data, progress=partial(tell, "accuracy"), limit=8 if quick else None)
    write_figures(model, figures)
    typer.echo(f"{model} is trained and measured; ask it with: medvqa ask STUDY QUESTION --model {model}")
