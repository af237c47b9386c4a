"""Integrated Gradients along the straight path from a baseline, by captum, in batches that fit memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from captum.attr import IntegratedGradients

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

STEPS = (32, 64, 128)
"""Numbers of steps along the path, tried in turn until the completeness error is at most `TOLERANCE`."""
TOLERANCE = 0.05
_MEMORY = 1 << 30
"""Bytes that a batch may keep for its way back."""


def integrate(score: Callable[[Tensor], Tensor], given: Tensor, baseline: Tensor) -> tuple[Tensor, float]:
    """Attribute score(given) - score(baseline).

    Args:
        score: (versions, ...) to (versions,), differentiable.
        given: One version, (1, ...).
        baseline: Likewise.

    Returns:
        Attributions shaped like `given`, float32, and the completeness error: |sum of attributions - gap| as
        a share of |gap|.
    """
    (end, start), kept = _score_and_weigh(score, torch.cat([given, baseline]))
    gap, at_once = end - start, max(1, 2 * _MEMORY // kept)
    attributions, error = given, float("inf")
    for steps in STEPS:
        attributions = IntegratedGradients(score).attribute(
            given, baseline, n_steps=steps, internal_batch_size=min(at_once, STEPS[0])
        )
        error = abs(attributions.sum().item() - gap) / max(abs(gap), 1e-6)
        if error <= TOLERANCE:
            break
    return attributions.detach().float(), error


def _score_and_weigh(score: Callable[[Tensor], Tensor], versions: Tensor) -> tuple[list[float], int]:
    """Score versions; also the bytes that autograd would keep of them."""
    kept: dict[int, int] = {}

    def weigh(tensor: Tensor) -> Tensor:
        if tensor.requires_grad:  # the weights are frozen, and there already
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
        scores = score(versions.clone().requires_grad_())
    return scores.tolist(), max(1, sum(kept.values()))
