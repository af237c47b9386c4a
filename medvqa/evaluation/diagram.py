"""The picture of a calibration: reliability, and risk against coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from medvqa.types import NOT_FOR_DIAGNOSIS

if TYPE_CHECKING:
    from pathlib import Path


def draw_calibration(figures: dict[str, Any], path: Path) -> None:
    """Draw the figures of `measure_confidence` as a PNG file."""
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    bins, measured = figures["reliability"], figures["measured"]
    largest = max(count for _, _, count in bins)
    left.plot([0, 1], [0, 1], color="grey", linestyle="--", label="perfect")
    left.scatter(
        [sure for sure, _, _ in bins],
        [accurate for _, accurate, _ in bins],
        s=[20 + 180 * count / largest for _, _, count in bins],
        label="one bin; area by count",
    )
    left.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    left.set_title(f"ECE {measured['ece']['value']:.3f}, {measured['questions']} held-out questions")
    left.legend(loc="upper left")
    answered, wrong = zip(*figures["risk_coverage"], strict=True)
    right.plot(answered, wrong)
    right.axhline(figures["alpha"], color="grey", linestyle="--", label=f"promise {figures['alpha']:g}")
    right.plot(
        measured["answered"]["value"], measured["error_answered"]["value"], "o", label="at the threshold"
    )
    right.set(
        xlabel="share of questions answered", ylabel="wrong among answered", xlim=(0, 1), ylim=(0, None)
    )
    right.set_title("risk against coverage")
    right.legend(loc="upper left")
    figure.supxlabel(NOT_FOR_DIAGNOSIS, fontsize=8)
    figure.savefig(path, dpi=100, metadata={"Software": None})
