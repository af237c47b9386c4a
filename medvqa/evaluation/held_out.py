"""What the default model is worth: held-out pictures, in known words, in others, and in Chinese."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medvqa.cases import read_cases
from medvqa.evaluation.answers import answer_cases
from medvqa.evaluation.description import describe_board, describe_row
from medvqa.evaluation.scoreboard import measure, score_row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from medvqa.models.huggingface import HuggingFaceModel


def measure_held_out(
    model: HuggingFaceModel, files: Mapping[str, Path], *, on_answered: Callable[[int], None] = lambda _: None
) -> dict[str, Any]:
    """The scoreboard of the first of `files`, and of each other the figures of its model row.

    Args:
        model: What answers.
        files: Cases by name, such as those of `medvqa.training.held_out.write_held_out`.
        on_answered: Told how many answers came.

    Raises:
        TrainingError: If a file or an image cannot be read.
    """
    found: dict[str, Any] = {}
    for name, file in files.items():
        cases = read_cases(file)
        answers = answer_cases(model, cases, controls=not found, on_answered=on_answered)
        if found:
            found[name] = describe_row(score_row(cases, [one.text for one in answers.said]))
        else:
            found[name] = describe_board(measure(cases, answers))
    return found
