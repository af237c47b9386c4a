"""What a batch is, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from medvqa.question_sets import QuestionSet
    from medvqa.settings import Settings
    from medvqa.types import ReportForm


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is asked about many studies, and where the results go."""

    settings: Settings
    questions: QuestionSet
    folder: Path
    forms: tuple[ReportForm, ...] = ("html", "json")
    together: int = 8
    """Studies that a process answers together; memory grows with it."""
    actors: int | None = None
    """Processes that hold a model each; None for one a GPU, or one a core where there is none."""
    address: str | None = None
    """Of a Ray cluster; None for this machine. On a cluster every node needs the paths of studies, folder and
    keys, and the trail in PostgreSQL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a batch is."""

    total: int
    done: int
    """Earlier runs included."""
    answered: int
    refused: int
    """Studies none of whose questions got an answer."""
    failed: int
