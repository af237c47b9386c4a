"""Parameters of tests that try every heatmap method."""

from __future__ import annotations

from typing import Any

import pytest

from medvqa.heatmaps import HEATMAPS

_MANY_PASSES = frozenset(("integrated_gradients", "occlusion", "token_integrated_gradients"))
"""Those that run the model dozens of times for a map."""


def each_method() -> list[Any]:
    """Every method; those that take long among the slow tests."""
    return [
        pytest.param(method, marks=pytest.mark.slow) if method in _MANY_PASSES else method
        for method in HEATMAPS
    ]
