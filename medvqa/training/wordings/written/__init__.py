"""Whole questions in the words of many people, a line each, by language in files named for what they ask.

A language model wrote them, asked for as many manners as there are people; grammar alone, as in
`english`, makes thousands of forms in few manners. The lines of `held_out` were written before and apart.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def read_wordings(source: str, language: str = "en") -> tuple[str, ...]:
    """The wordings of this name; empty where there are none."""
    file = files(__name__) / language / f"{source}.txt"
    return tuple(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else ()
