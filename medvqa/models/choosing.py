"""Which model to take: by constraints that are stated, in an order that is told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from medvqa.errors import ModelError
from medvqa.models.cached import describe_size
from medvqa.models.catalogue import ACCESS, ROUTES, read_catalogue
from medvqa.models.memory import estimate_gb

if TYPE_CHECKING:
    from medvqa.models.cached import OnDisk
    from medvqa.models.catalogue import Checkpoint, Figure, Task
    from medvqa.types import Precision

COMPARED: Mapping[Task, tuple[str, str]] = {"vqa": ("MMMU val", "accuracy"), "ocr": ("DocVQA test", "score")}
"""Benchmark and metric by which models for a task are put in order; for other tasks too few publish one."""
COMPARED_MEDICAL: Mapping[Task, tuple[str, str]] = {"vqa": ("VQA-RAD", "tokenized F1")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a model has to satisfy, all of it."""

    task: Task
    memory_gb: float | None = None
    """What there is, of the GPU or of the machine; None where it does not matter."""
    open_only: bool = False
    """Licence free to use, commercially too, and nothing to accept first."""
    medical: bool = False
    """Trained on medical images."""
    gradients: bool = False
    """Heatmaps by gradients are wanted: weights that are here, and not rounded."""
    precision: Precision = "bf16"

    @property
    def benchmark(self) -> tuple[str, str] | None:
        """Benchmark and metric that order the choices."""
        return (COMPARED_MEDICAL if self.medical else COMPARED).get(self.task)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One model that satisfies everything, and what speaks for its place."""

    checkpoint: Checkpoint
    memory_gb: float | None
    """Estimated; None where nobody says how large it is."""
    on_disk: OnDisk | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """One model made for the task that does not satisfy everything, and what it fails."""

    checkpoint: Checkpoint
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """All that fit, the first choice first, and those made for the task that do not."""

    wanted: Wanted
    rule: str
    """How the choices were put in order."""
    choices: tuple[Choice, ...]
    left_out: tuple[LeftOut, ...]


def recommend(
    wanted: Wanted,
    *,
    on_disk: Mapping[str, OnDisk] | None = None,
    catalogue: Sequence[Checkpoint] | None = None,
) -> Recommendation:
    """Choose by stated constraints.

    What fits is put in order by the published figure of the task's benchmark, those without one last; then by
    what was fetched to this disk; then by size, the larger first.
    Models without weights are never chosen: that images leave the house is for a person to decide.

    Args:
        wanted: The constraints.
        on_disk: What `models_on_disk` found.
        catalogue: Checkpoints to choose from; by default the whole catalogue.

    Raises:
        ModelError: If nothing fits; it names what to relax.
    """
    known = {} if on_disk is None else on_disk
    known_models = read_catalogue() if catalogue is None else catalogue
    failures = {one: unmet(one, wanted) for one in known_models if wanted.task in one.tasks}
    fitting = [one for one, failed in failures.items() if not failed]
    if not fitting:
        raise ModelError(_nothing_fits([*failures], wanted))
    return Recommendation(
        wanted=wanted,
        rule=_rule(wanted),
        choices=tuple(_choice(one, wanted, known) for one in _in_order(fitting, wanted, known)),
        left_out=tuple(
            LeftOut(checkpoint=one, because=tuple(failed.values()))
            for one, failed in failures.items()
            if failed
        ),
    )


def unmet(checkpoint: Checkpoint, wanted: Wanted) -> dict[str, str]:
    """The constraints that a checkpoint fails, by option, each with a clause for a person."""
    failed: dict[str, str] = {}
    if wanted.task not in checkpoint.tasks:
        failed["--task"] = f"is not made for {wanted.task}"
    if checkpoint.access == "hosted":
        failed["hosted"] = (
            "is hosted: whether images may leave the house is yours to decide, see docs/remote.md"
        )
    elif not checkpoint.served:
        reason = (
            ROUTES["none"] if checkpoint.route == "none" else f"has no record for family {checkpoint.family}"
        )
        failed["served"] = f"{reason}, see docs/models.md"
    if wanted.memory_gb is not None and checkpoint.access != "hosted":
        needed = needed_gb(checkpoint, wanted)
        if needed is None:
            failed["--memory"] = "is of a size that nobody states"
        elif needed > wanted.memory_gb:
            failed["--memory"] = f"needs about {needed:.1f} GB in {wanted.precision}"
    if wanted.open_only and checkpoint.access != "open":
        failed["--open"] = f"{ACCESS[checkpoint.access]} ({checkpoint.licence})"
    if wanted.medical and not checkpoint.medical:
        failed["--medical"] = "was not trained on medical images"
    if wanted.gradients and checkpoint.route != "ask":
        failed["--gradients"] = "has no heatmaps by gradients"
    elif wanted.gradients and wanted.precision == "int8":
        failed["--precision"] = "has no gradients in int8"
    return failed


def needed_gb(checkpoint: Checkpoint, wanted: Wanted) -> float | None:
    """Estimated memory in GB; None where the size is not known or the weights are elsewhere."""
    if checkpoint.parameters is None:
        return None
    return estimate_gb(
        checkpoint.parameters, wanted.precision, kept=checkpoint.kept, gradients=wanted.gradients
    )


def compared_figure(checkpoint: Checkpoint, wanted: Wanted) -> Figure | None:
    """The published figure that decides its place; None where there is none."""
    return None if wanted.benchmark is None else checkpoint.figure(*wanted.benchmark)


def _in_order(fitting: Sequence[Checkpoint], wanted: Wanted, known: Mapping[str, OnDisk]) -> list[Checkpoint]:
    def place(one: Checkpoint) -> tuple[float, bool, float, str]:
        figure, here = compared_figure(one, wanted), known.get(one.name)
        return (
            -figure.value if figure else 0.0,
            # The shipped model is everywhere, which says nothing about what anybody chose.
            here is None or here.place == "shipped" or not here.complete,
            -(one.parameters or 0.0),
            one.name,
        )

    return sorted(fitting, key=place)


def _rule(wanted: Wanted) -> str:
    steps = ["those fetched to this disk first", "the larger first"]
    if wanted.benchmark is not None:
        benchmark, metric = wanted.benchmark
        steps.insert(0, f"the published {benchmark} ({metric}), those without one last")
    return "; then ".join(steps)


def _choice(checkpoint: Checkpoint, wanted: Wanted, known: Mapping[str, OnDisk]) -> Choice:
    figure, needed = compared_figure(checkpoint, wanted), needed_gb(checkpoint, wanted)
    on_disk = known.get(checkpoint.name)
    reasons = [f"made for {wanted.task}"]
    if figure is not None:
        reasons.append(f"{figure.benchmark} {figure.value:.1f} ({figure.metric}) by {figure.by}")
    elif wanted.benchmark is not None:
        reasons.append(f"no {wanted.benchmark[0]} ({wanted.benchmark[1]}) was found")
    if needed is not None:
        of = "" if wanted.memory_gb is None else f" of {wanted.memory_gb:g}"
        reasons.append(f"about {needed:.1f} GB{of} in {wanted.precision}")
    reasons.append(f"{ACCESS[checkpoint.access]} ({checkpoint.licence})")
    if checkpoint.medical:
        reasons.append("trained on medical images")
    if on_disk is not None:
        reasons.append(f"on this disk: {describe_size(on_disk)}")
    return Choice(checkpoint=checkpoint, memory_gb=needed, on_disk=on_disk, reasons=tuple(reasons))


def _nothing_fits(made_for: Sequence[Checkpoint], wanted: Wanted) -> str:
    """Which one constraint, relaxed, would let something through."""
    relaxed = {
        "--open": replace(wanted, open_only=False),
        "--medical": replace(wanted, medical=False),
        "--gradients": replace(wanted, gradients=False),
        "--precision": replace(wanted, precision="bf16"),
        "--memory": replace(wanted, memory_gb=None),
    }
    ways: list[str] = []
    for option, other in relaxed.items():
        fitting = _in_order([one for one in made_for if not unmet(one, other)], other, {})
        if not fitting or other == wanted:
            continue
        sizes = [(needed, one.name) for one in fitting if (needed := needed_gb(one, wanted)) is not None]
        if option == "--memory" and sizes:
            least, name = min(sizes)
            ways.append(f"with --memory {math.ceil(least * 10) / 10:g} there is {name}")
        else:
            way = "with --precision bf16" if option == "--precision" else f"without {option}"
            ways.append(f"{way} there is {fitting[0].name}")
    if not any(one.served and one.access != "hosted" for one in made_for):
        return f"no model that medvqa can load is made for {wanted.task}; see docs/models.md for what can be"
    if not ways:
        ways.append("relax two constraints at once, see docs/models.md")
    return f"no model for {wanted.task} satisfies all of this; {', and '.join(ways)}"
