"""`medvqa train`: the default model from nothing."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from accelerate import PartialState

from medvqa.cli.opening import quieten_libraries
from medvqa.cli.progress import show_progress
from medvqa.evaluation.held_out import measure_held_out
from medvqa.models.loading import load_model
from medvqa.training.default_model import Plan, train_default_model
from medvqa.training.held_out import write_held_out


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

    On several cores or machines: torchrun --nproc-per-node 2 -m medvqa train DATA. It takes about five
    hours on two cores; the result is in OUT/model and can be asked with --model.
    """
    quieten_libraries()
    plan = Plan(see_steps=4, answer_steps=4, tune_steps=2, phantoms=6) if quick else Plan()
    with show_progress() as bars:
        bar = bars.add_task("training", total=None)

        def tell(step: int, steps: int, loss: float) -> None:
            bars.update(bar, completed=step, total=steps, description=f"loss {loss:.3f}")

        model = train_default_model(data, out, plan=plan, progress=tell)
        if not PartialState().is_main_process:
            return
        bars.reset(bar, description="measuring", total=None)
        files = write_held_out(data, out / "held-out", limit=8 if quick else None)
        figures = measure_held_out(
            load_model(model, calibrated=False), files, on_answered=partial(bars.advance, bar)
        )
    (model / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    typer.echo(f"{model} is trained and measured; ask it with: medvqa ask STUDY QUESTION --model {model}")
