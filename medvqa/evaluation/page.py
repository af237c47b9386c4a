"""The scoreboard as one HTML file that needs no network: figures, plots, and the worst answers to look at."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image as PillowImage

from medvqa.cases import read_image
from medvqa.evaluation.calibration import bin_answers
from medvqa.evaluation.metrics import matches
from medvqa.evaluation.scoreboard import FIGURES, ROWS
from medvqa.imaging import to_uint8
from medvqa.types import NOT_FOR_DIAGNOSIS

if TYPE_CHECKING:
    from medvqa.cases import Case
    from medvqa.evaluation.answers import Answers, Said
    from medvqa.evaluation.scoreboard import Scoreboard
    from medvqa.types import Image

WORST = 24
"""Wrong answers that the page shows."""
_SIDE = 320
"""Pixels of the longer edge of an image in the page."""
_COLOURS = {"model": "#1f77b4", "blank_image": "#999999", "other_image": "#d0a060", "majority": "#c05050"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """One wrong answer as the page shows it."""

    case: Case
    said: Said
    picture: str
    """Data URI."""


def write_page(cases: Sequence[Case], answers: Answers, board: Scoreboard, described: dict[str, Any]) -> str:
    """The page's HTML.

    Args:
        cases: What was asked.
        answers: What was said.
        board: The figures.
        described: The same as `--json` prints them, with what is said of the data.

    Raises:
        TrainingError: If an image cannot be read any more.
    """
    source = files("medvqa").joinpath("templates", "scoreboard.html").read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(source)
    return template.render(
        board=described,
        rows=ROWS,
        figures=FIGURES,
        plot=Markup(draw_plots(cases, answers, board)),  # noqa: S704  # drawn by matplotlib, which escapes
        worst=find_worst(cases, answers),
        notice=NOT_FOR_DIAGNOSIS,
    )


def find_worst(cases: Sequence[Case], answers: Answers) -> list[Wrong]:
    """The wrong answers that the model was surest of."""
    wrong = [place for place, said in enumerate(answers.said) if not matches(said.text, cases[place].answer)]
    wrong.sort(key=lambda place: -answers.said[place].confidence)
    return [
        Wrong(case=cases[place], said=answers.said[place], picture=_embed(read_image(cases[place])))
        for place in wrong[:WORST]
    ]


def draw_plots(cases: Sequence[Case], answers: Answers, board: Scoreboard) -> str:
    """Exact match by kind of question for each row, and reliability, as one SVG element."""
    kinds = [*board.rows["model"].by_kind]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "medvqa", "font.family": "sans-serif"}):
        figure = Figure(figsize=(11, max(3.6, 0.8 + 0.55 * len(kinds))), layout="constrained")
        FigureCanvasSVG(figure)
        left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
        _draw_kinds(left, kinds, board)
        _draw_reliability(right, cases, answers, board)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    drawn = file.getvalue()
    return drawn[drawn.index("<svg") :]


def _draw_kinds(axes: Any, kinds: Sequence[str], board: Scoreboard) -> None:
    height = 0.8 / len(ROWS)
    for number, name in enumerate(ROWS):
        rows = [board.rows[name].by_kind[kind] for kind in kinds]
        values = np.array([row.figures["exact_match"] or 0.0 for row in rows])
        edges = np.array([row.intervals["exact_match"] or (0.0, 0.0) for row in rows])
        away = np.clip(np.stack([values - edges[:, 0], edges[:, 1] - values]), 0, None)
        places = np.arange(len(kinds)) + height * (number - 1.5)
        axes.barh(
            places, values, height, xerr=away, color=_COLOURS[name], label=name, error_kw={"linewidth": 0.8}
        )
    labels = [
        f"{kind.replace('$', '')} ({board.rows['model'].by_kind[kind].cases})" for kind in kinds
    ]  # a dollar starts a formula
    axes.set_yticks(np.arange(len(kinds)), labels)
    axes.set(xlim=(0, 1), xlabel="exact match, with 95 % intervals by group")
    axes.invert_yaxis()
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(ROWS), fontsize=8, frameon=False)


def _draw_reliability(axes: Any, cases: Sequence[Case], answers: Answers, board: Scoreboard) -> None:
    right = np.array(
        [matches(said.text, case.answer) for case, said in zip(cases, answers.said, strict=True)]
    )
    bins = bin_answers(np.array([said.confidence for said in answers.said]), right)
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--")
    axes.scatter(
        [sure for sure, _, _ in bins],
        [accurate for _, accurate, _ in bins],
        s=[20 + 180 * count / len(cases) for _, _, count in bins],
    )
    known = "calibrated confidence" if board.calibrated else "confidence, not all of it calibrated"
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel=known, ylabel="right")
    axes.set_title(f"calibration error {board.calibration_error:.3f}", fontsize=10)


def _embed(image: Image) -> str:
    picture = PillowImage.fromarray(to_uint8(image))
    picture.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
