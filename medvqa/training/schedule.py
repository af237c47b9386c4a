"""The optimisation loop that every training stage shares, and how long and fast each runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from pathlib import Path

    from accelerate import Accelerator

_KEPT_EVERY = 200
"""Steps between two savings of an unfinished stage."""

Progress: TypeAlias = Callable[[int, int, float], None]
"""Called after each step with the step (from 1), the number of steps, and the running mean of the loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How long and how fast one stage runs, in each process."""

    steps: int
    """Number of batches."""
    batch_size: int
    """Pictures in a batch."""
    learning_rate: float
    """Its highest value, reached after a twentieth of the steps."""
    seed: int = 0
    """Of what is asked about the pictures."""
    state: Path | None = None
    """File that keeps an unfinished stage, from which a stopped run goes on."""


def train_steps(
    learner: nn.Module,
    draw: Callable[[], dict[str, Tensor]],
    accelerator: Accelerator,
    *,
    course: Course,
    progress: Progress,
) -> None:
    """Run AdamW on what `learner` has to train, with warm-up and cosine decay, and leave it in eval mode.

    Args:
        learner: Maps a batch, passed as keywords, to its loss.
        draw: The next batch of this process.
        accelerator: Where to run; with several processes their gradients are averaged.
        course: Steps, learning rate, and where an unfinished run is kept. One that goes on draws other
            batches than it would have drawn.
        progress: Told of every step, in the main process alone.
    """
    trainable = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    learner.train()
    prepared, optimizer = accelerator.prepare(
        learner, torch.optim.AdamW(groups, lr=course.learning_rate, betas=(0.9, 0.98))
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer.optimizer, lambda step: _rate(step, course.steps))
    done, running = _resume(course.state, learner, optimizer, schedule)
    for step in range(done + 1, course.steps + 1):
        batch = {name: tensor.to(accelerator.device) for name, tensor in draw().items()}
        loss = prepared(**batch)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        running = loss.item() if step == 1 else 0.98 * running + 0.02 * loss.item()
        if accelerator.is_main_process:
            progress(step, course.steps, running)
            if course.state is not None and step % _KEPT_EVERY == 0:
                _keep(course.state, learner, optimizer, schedule, step, running)
    accelerator.free_memory()
    learner.eval()


def _keep(path: Path, learner: nn.Module, optimizer: Any, schedule: Any, step: int, running: float) -> None:
    unfinished = path.with_suffix(".part")
    kept = {
        "learner": learner.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "step": step,
        "running": running,
    }
    torch.save(kept, unfinished)
    unfinished.replace(path)


def _resume(path: Path | None, learner: nn.Module, optimizer: Any, schedule: Any) -> tuple[int, float]:
    """Steps that were done, and the running mean of the loss."""
    if path is None or not path.is_file():
        return 0, 0.0
    kept = torch.load(path, weights_only=True)
    learner.load_state_dict(kept["learner"])
    optimizer.load_state_dict(kept["optimizer"])
    schedule.load_state_dict(kept["schedule"])
    return kept["step"], kept["running"]


def _rate(step: int, steps: int) -> float:
    """Share of the highest rate: linear up over a twentieth of the steps, then a cosine down to 2 %."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.02 + 0.98 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2
