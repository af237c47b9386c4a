"""What a person decides about a tuning run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Precision: TypeAlias = Literal["no", "bf16", "fp16"]
Quantisation: TypeAlias = Literal["8bit", "4bit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All of it is in the run's `config.json`, and a run that goes on must have the same."""

    epochs: int = 3
    batch_size: int = 8
    """Cases that each process reads at once."""
    accumulate: int = 1
    """Batches whose gradients are summed before a step."""
    learning_rate: float = 2e-4
    """Its highest value, reached after a twentieth of the steps; a cosine leads down from there."""
    rank: int | None = None
    """Of the adapter's matrices; None for the highest up to 16 that trains less than 5 %."""
    targets: str = "all-linear"
    """Layers that get matrices: `all-linear`, or ends of module names with commas between them."""
    precision: Precision = "no"
    """`no` computes in float32."""
    quantise: Quantisation | None = None
    """Of the base's weights while tuning, by bitsandbytes."""
    checkpointing: bool = False
    """Compute activations anew on the way back, not keep them: less memory, about a third more time."""
    augment: bool = False
    """Vary brightness and contrast of training images; nothing is moved or mirrored, so places stay true."""
    patience: int = 3
    """Validations in a row without a lower loss after which the run ends; 0 for never."""
    validate_every: int | None = None
    """Steps between validations; None for once an epoch, and at least every 500."""
    save_every: int = 50
    """Steps after which the state is kept; a kill loses at most so many."""
    workers: int = 0
    """Processes that read images ahead, for each process that learns."""
    licence: str | None = None
    """Of the adapter, for its card."""
    seed: int = 0
    """Of the order, the split where the file has none, and the first matrices."""
