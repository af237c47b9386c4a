"""Putting a question into words: a wording with its slots filled, varied as people write."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from medvqa.training.wordings import chinese, english, unanswerable
from medvqa.training.wordings.written import read_wordings

if TYPE_CHECKING:
    import numpy as np

    from medvqa.simulation import Kind, Organ

Language: TypeAlias = Literal["en", "zh"]

_SLOT = re.compile(r"\{(\w+)\}")
WRITTEN = 0.7
"""Share of questions in whole wordings of `written`, where there are some."""
_SHORTENED = 0.08
"""Share of questions that lack one small word, as people leave them out."""
_SMALL = re.compile(r"\b(?:a|an|the|this|is|in|of|on|to|me|you|can|please|that)\s")
_MISSPELT = 0.06
"""Share of questions with one letter too many, too few, or out of place."""


def word(
    source: str,
    rng: np.random.Generator,
    *,
    organ: Organ,
    kind: Kind = "nodule",
    language: Language = "en",
) -> str | None:
    """A question in a random wording, or None where the language has none of this name.

    Args:
        source: Name of the wordings.
        rng: Draws wording, slots and variations.
        organ: What is in the image.
        kind: Of the simulated finding that is asked about, where one is.
        language: Of the question.
    """
    wordings = chinese.WORDINGS.get(source) if language == "zh" else english.WORDINGS.get(source)
    if (written := read_wordings(source, language)) and rng.random() < WRITTEN:
        wordings = written
    if wordings is None:
        return None
    return phrase(_pick(wordings, rng), rng, organ=organ, kind=kind, language=language)


def phrase(
    wording: str,
    rng: np.random.Generator,
    *,
    organ: Organ,
    kind: Kind = "nodule",
    language: Language = "en",
) -> str:
    """One wording with its slots filled, varied."""
    text = _fill(wording, rng, _slots(organ, kind, language))
    return _vary(text, rng) if language == "en" else _vary_chinese(text, rng)


def held_out(source: str, rng: np.random.Generator, *, organ: Organ, kind: Kind = "nodule") -> str | None:
    """A question in words that training never uses; None where there is none of this name."""
    wordings = read_wordings(source, "held_out")
    return _fill(_pick(wordings, rng), rng, _slots(organ, kind, "en")) if wordings else None


def say(answer: str, language: Language) -> str:
    """An answer in the language of its question."""
    return chinese.SAYINGS[answer] if language == "zh" else answer


def _slots(organ: Organ, kind: Kind, language: Language) -> Mapping[str, Sequence[str]]:
    if language == "zh":
        called, named = chinese.FINDINGS[kind], chinese.SLOTS[organ]
        here = {"organ": (chinese.SAYINGS[organ],), "named": named, "nodule": called}
        return {**chinese.SLOTS, **chinese.SLOTS_UNANSWERABLE, **here}
    called = english.FINDINGS[kind]
    return {
        **english.SLOTS,
        **unanswerable.SLOTS,
        "organ": (organ,),
        "named": english.SLOTS[organ],
        "nodule": called,
        "nodules": [_plural(name) for name in called],
        "elsewhere": unanswerable.elsewhere(organ),
        "object": unanswerable.objects(),
        "attribute": unanswerable.attributes(),
    }


def _fill(wording: str, rng: np.random.Generator, slots: Mapping[str, Sequence[str]]) -> str:
    text = wording
    while match := _SLOT.search(text):
        text = text[: match.start()] + _pick(slots[match[1]], rng) + text[match.end() :]
    return re.sub(r"\b([Aa]) (?=[aei]|o(?!ne))", r"\1n ", text)


def _vary(text: str, rng: np.random.Generator) -> str:
    if rng.random() < 0.25:
        text = _pick(english.BEFORE, rng) + text
    if rng.random() < _SHORTENED and (small := [*_SMALL.finditer(text)]):
        left_out = small[int(rng.integers(len(small)))]
        text = text[: left_out.start()] + text[left_out.end() :]
    if rng.random() < _MISSPELT:
        text = _misspell(text, rng)
    case = rng.random()
    if case < 0.7:
        text = text[0].upper() + text[1:]
    elif case > 0.98:
        text = text.upper()
    if rng.random() < 0.1:
        text = text.rstrip("?. ")
    return text + _pick(english.AFTER, rng) if rng.random() < 0.1 else text


def _vary_chinese(text: str, rng: np.random.Generator) -> str:
    if rng.random() < 0.25:
        text = _pick(chinese.BEFORE, rng) + text
    mark = rng.random()
    if mark < 0.1:
        return text.rstrip("？。")
    return text.replace("？", "?") if mark < 0.2 else text


def _misspell(text: str, rng: np.random.Generator) -> str:
    """Double, drop or swap one letter of a long word."""
    places = [match.start() + 1 for match in re.finditer(r"[a-z]{5,}", text)]
    if not places:
        return text
    at = int(rng.choice(places)) + int(rng.integers(3))
    draw = rng.random()
    if draw < 1 / 3:
        return text[:at] + text[at] + text[at:]
    if draw < 2 / 3:
        return text[:at] + text[at + 1 :]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _plural(name: str) -> str:
    if name.endswith("y"):
        return name[:-1] + "ies"
    return name + ("es" if name.endswith("s") else "s")


def _pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
