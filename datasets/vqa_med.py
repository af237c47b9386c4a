"""What the sets of VQA-Med share, whatever the year: a JPEG by its name, and one or several right answers."""

from __future__ import annotations

from pathlib import Path

from downloads import inside, is_closed
from preparing import Record


def record_of(images: Path, name: str, question: str, answers: list[str], *, kind: str, split: str) -> Record:
    """One line of a list; the first of `answers` is the answer, the others are as right."""
    return Record(
        image=inside(images, f"{name}.jpg"),
        question=" ".join(question.split()),
        answer=answers[0],
        also=tuple(answers[1:]),
        closed=is_closed(answers[0]),
        kind=kind,
        group=name,
        split=split,
    )
