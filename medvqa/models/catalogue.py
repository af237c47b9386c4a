"""Published checkpoints: what is known about each, and where that was read.

Nothing here imports a model library, so that choosing a model takes no longer than reading a table.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeAlias, get_args

Task: TypeAlias = Literal[
    "vqa", "caption", "report", "ocr", "detect", "ground", "segment", "classify", "compare", "retrieval"
]
Access: TypeAlias = Literal["open", "conditions", "gated", "research", "unstated", "hosted"]
Route: TypeAlias = Literal["ask", "similar", "compose", "remote", "none"]

TASKS: tuple[Task, ...] = get_args(Task)
ACCESS: Mapping[Access, str] = {
    "open": "free to use, commercially too",
    "conditions": "free to fetch, under terms of its own",
    "gated": "terms to accept on the hub before it can be fetched",
    "research": "for research alone",
    "unstated": "no licence was found: see its card",
    "hosted": "no weights to be had",
}
ROUTES: Mapping[Route, str] = {
    "ask": "--model of any command",
    "similar": "see docs/similar.md",
    "compose": "see docs/compose.md",
    "remote": "see docs/remote.md",
    "none": "cannot be loaded",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One published figure, with whoever measured it."""

    benchmark: str
    """With its split, such as `MMMU val`."""
    metric: str
    value: float
    """In per cent."""
    by: str
    """`its authors`, or whoever else measured it or quotes them."""
    source: str
    """Address of the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One published checkpoint."""

    name: str
    """On the hub, or `default`: what `--model` takes."""
    family: str
    """transformers' `model_type`, or that of a form which transformers does not know."""
    route: Route
    served: bool
    """Whether this version of medvqa has a record for the family, and so can use it."""
    tasks: frozenset[Task]
    """What its authors made it for."""
    parameters: float | None
    """In billions; None where nobody says."""
    parameters_source: str
    kept: float | None
    """See `medvqa.models.memory.KEPT`; None where nobody has worked it out."""
    licence: str
    licence_source: str
    access: Access
    medical: bool
    """Whether it was trained on medical images."""
    languages: str
    """As stated; empty where they are not."""
    note: str
    figures: tuple[Figure, ...]

    def figure(self, benchmark: str, metric: str) -> Figure | None:
        """The figure of that benchmark in that metric; None where it was not found."""
        return next((one for one in self.figures if (one.benchmark, one.metric) == (benchmark, metric)), None)


@cache
def read_catalogue() -> tuple[Checkpoint, ...]:
    """All checkpoints, in the file's order: `medvqa/models/catalogue.toml`."""
    written = _read()
    served: dict[str, list[str]] = written["served"]
    return tuple(_checkpoint(entry, served) for entry in written["checkpoint"])


def served_families(route: Route) -> frozenset[str]:
    """Families of transformers that medvqa can use by that route."""
    return frozenset(_read()["served"].get(route, ()))


@cache
def _read() -> dict[str, Any]:
    return tomllib.loads((files("medvqa.models") / "catalogue.toml").read_text(encoding="utf-8"))


def _checkpoint(entry: dict[str, Any], served: Mapping[str, list[str]]) -> Checkpoint:
    figures = tuple(Figure(**{"by": "its authors"} | one) for one in entry.get("figure", ()))
    return Checkpoint(
        name=entry["name"],
        family=entry["family"],
        route=entry["route"],
        served=entry["family"] in served.get(entry["route"], ()),
        tasks=frozenset(entry["tasks"]),
        parameters=entry.get("parameters"),
        parameters_source=entry.get("parameters_source", ""),
        kept=entry.get("kept"),
        licence=entry["licence"],
        licence_source=entry.get("licence_source", ""),
        access=entry["access"],
        medical=entry.get("medical", False),
        languages=entry.get("languages", ""),
        note=entry.get("note", ""),
        figures=figures,
    )
