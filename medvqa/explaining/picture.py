"""An explanation as one picture."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from medvqa.heatmaps.overlay import overlay
from medvqa.imaging import to_uint8
from medvqa.types import NOT_FOR_DIAGNOSIS

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from medvqa.explaining.explanation import Explanation, Mapped, Slices
    from medvqa.types import HeatmapGrade, Image

_COLUMNS = 4
_INCH = 3.0
"""Width of one map."""
_MARKS = {"good": "#1b7837", "weak": "#b35806", "chance": "#777777"}


def save_picture(explanation: Explanation, path: Path) -> None:
    """Write the image, each map with its grade and curves, and the slices, as a PNG file."""
    columns = min(_COLUMNS, len(explanation.maps) + 1)
    rows = -(-(len(explanation.maps) + 1) // columns)
    strip = 0 if explanation.slices is None else 1
    figure = Figure(
        figsize=(_INCH * columns, _INCH * (1.75 * rows + 0.7 * strip) + 0.6), layout="constrained"
    )
    grid = figure.add_gridspec(2 * rows + strip, columns, height_ratios=[3, 1] * rows + [1.2] * strip)
    _show_image(figure.add_subplot(grid[0, 0]), explanation)
    legend = figure.add_subplot(grid[1, 0])
    for place, mapped in enumerate(explanation.maps, start=1):
        row, column = divmod(place, columns)
        curves = figure.add_subplot(grid[2 * row + 1, column])
        _show_map(figure.add_subplot(grid[2 * row, column]), explanation.image, mapped)
        _show_curves(curves, mapped.heatmap.grade)
        if place == 1:
            legend.legend(*curves.get_legend_handles_labels(), fontsize=8, loc="lower left", frameon=False)
    legend.set_axis_off()
    if explanation.slices is not None:
        _show_slices(figure.add_subplot(grid[-1, :]), explanation.slices, explanation.image_number)
    explained = explanation.maps[0].heatmap.explained if len({*_explained(explanation)}) == 1 else None
    figure.suptitle(NOT_FOR_DIAGNOSIS + (f" Explained: {explained}." if explained else ""), fontsize=9)
    FigureCanvasAgg(figure).print_png(path)


def _explained(explanation: Explanation) -> list[str]:
    return [mapped.heatmap.explained for mapped in explanation.maps]


def _show_image(axes: Axes, explanation: Explanation) -> None:
    answer = explanation.answer
    _show(axes, explanation.image, to_uint8(explanation.image))
    axes.set_title(_wrap(f"{answer.question} {answer.text}", 34), fontsize=10, weight="bold", loc="left")
    told = f"verdict {answer.checks.verdict}, confidence {answer.checks.confidence:.2f}"
    axes.set_xlabel(f"{told}\nimage {explanation.image_number}, {answer.model.name}", fontsize=8, loc="left")


def _show_map(axes: Axes, image: Image, mapped: Mapped) -> None:
    heatmap, grade = mapped.heatmap, mapped.heatmap.grade
    drawn = grade is None or grade.level != "chance"
    _show(axes, image, overlay(image, heatmap.values) if drawn else to_uint8(image))
    level = "not graded" if grade is None else grade.level
    title = f"{heatmap.method.replace('_', ' ')}: {level}, {mapped.seconds:.1f} s"
    axes.set_title(title, fontsize=8, weight="bold", loc="left", color=_MARKS.get(level, "black"))
    notes = [heatmap.explained] if grade is None else [f"explains {heatmap.explained}", grade.reason]
    axes.set_xlabel("\n".join(_wrap(note, 52) for note in notes), fontsize=6.5, loc="left")


def _show_curves(axes: Axes, grade: HeatmapGrade | None) -> None:
    if grade is None:
        axes.set_axis_off()
        return
    places = range(len(grade.fractions))
    for curves, colour, whose in ((grade.curves, "#b2182b", "map"), (grade.random, "#999999", "random")):
        axes.plot(places, curves.deletion, color=colour, label=f"{whose}: its cells hidden")
        axes.plot(
            places, curves.insertion, color=colour, linestyle="--", label=f"{whose}: only its cells shown"
        )
    axes.set_ylim(-0.03, 1.03)
    axes.set_xticks(places, [f"{fraction:.0%}" for fraction in grade.fractions])
    axes.tick_params(labelsize=6)
    axes.set_ylabel("probability", fontsize=6)


def _show_slices(axes: Axes, slices: Slices, chosen: int) -> None:
    colours = ["#b2182b" if number == chosen else "#999999" for number in slices.numbers]
    axes.bar(slices.numbers, slices.values, color=colours)
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set_title(f"Each image of the study: {slices.explained}", fontsize=8, loc="left")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("image (red: asked about)", fontsize=7)
    axes.set_ylabel("nats", fontsize=7)
    axes.tick_params(labelsize=7)


def _show(axes: Axes, image: Image, pixels: object) -> None:
    down, right = image.pixel_spacing_mm or (1.0, 1.0)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, aspect=down / right)  # pyright: ignore[reportArgumentType]
    axes.set_xticks([])
    axes.set_yticks([])


def _wrap(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text.replace("$", r"\$"), width))
