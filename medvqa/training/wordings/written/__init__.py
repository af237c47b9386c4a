"""Whole questions in the words of many people, a line each, in files named for what they ask.

A language model wrote them, asked for as many manners as there are people; grammar alone, as in
`english`, makes thousands of forms in few manners. Training uses `en` and `zh`. On `held_out`, English and
written apart from both, it is measured how well a model takes other words: training never uses it.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal


@cache
def read_wordings(source: str, folder: Literal["en", "zh", "held_out"] = "en") -> tuple[str, ...]:
    """The wordings of this name; empty where there are none."""
    file = files(__name__) / folder / f"{source}.txt"
    return tuple(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else ()
