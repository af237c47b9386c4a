"""What a stopped run needs to go on, written so that a kill at any moment leaves a whole file."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medvqa.errors import TrainingError


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """How well the held-out cases were answered after so many steps."""

    step: int
    loss: float
    """Mean over cases of the mean negative log-probability of an answer's tokens, in nats."""
    right: dict[str, tuple[int, int]]
    """By kind: answers that greedy decoding writes token for token, and cases."""

    @property
    def exact_match(self) -> float:
        """Share of all cases answered token for token."""
        right, count = (sum(column) for column in zip(*self.right.values(), strict=True))
        return right / count


@dataclass(slots=True, kw_only=True)
class State:
    """Where a run is. Randomness is drawn anew from seed and step, so that none of it needs to be kept."""

    step: int = 0
    losses: list[float] = field(default_factory=list[float])
    """Of each step, mean over its cases."""
    validations: list[Validation] = field(default_factory=list[Validation])
    """The first is of the base, before any step."""
    adapter: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    optimizer: dict[str, Any] = field(default_factory=dict[str, Any])
    scaler: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def best(self) -> Validation:
        """The validation of the lowest loss after at least one step."""
        return min(self.validations[1:], key=lambda one: one.loss)


def write_state(path: Path, state: State) -> None:
    """Replace the file at `path` in one move."""
    content = {name: getattr(state, name) for name in State.__dataclass_fields__}
    content["validations"] = [asdict(one) for one in state.validations]
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def read_state(path: Path) -> State | None:
    """The state at `path`; None where there is none.

    Raises:
        TrainingError: If the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        content["validations"] = [Validation(**one) for one in content["validations"]]
        return State(**content)
    except Exception as error:  # whatever a damaged pickle makes torch raise
        raise TrainingError(f"{path} is damaged; remove it to begin anew, or give another --out") from error
