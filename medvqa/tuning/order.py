"""Which cases each process reads at which step: a function of seed and step, so that any step can be next."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Every epoch is a fresh permutation; its last step is filled up from the epoch's beginning."""

    cases: int
    batch_size: int
    accumulate: int
    processes: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps that read each case at least once."""
        return math.ceil(self.cases / (self.batch_size * self.accumulate * self.processes))

    def batches(self, step: int, process: int) -> list[tuple[int, list[int]]]:
        """Batches of a step, which counts from 1, for one process: the epoch and the cases' places."""
        epoch, place = divmod(step - 1, self.steps_per_epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(self.cases)
        shape = (self.accumulate, self.processes, self.batch_size)
        count = math.prod(shape)
        taken = order.take(range(place * count, (place + 1) * count), mode="wrap").reshape(shape)
        return [(epoch, row.tolist()) for row in taken[:, process]]


def shares(cases: int, *, batch_size: int, processes: int) -> np.ndarray:
    """Every case once, in batches of equal number for all processes; the last ones repeat the first cases.

    Returns:
        Places of cases, shape (batches, processes, batch_size); in this order, what is past `cases` repeats.
    """
    batches = math.ceil(cases / (batch_size * processes))
    return np.resize(np.arange(cases), (batches, processes, batch_size))
