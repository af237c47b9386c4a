"""PathVQA: python datasets/path_vqa/prepare.py DOWNLOAD --out FOLDER. See README.md beside this file.

https://github.com/UCSD-AI4H/PathVQA, He et al. 2020, arXiv:2003.10286.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from downloads import Options, PreparationError, find_split, inside, is_closed, locate, text_of
from preparing import Record, run

SPLITS = ("train", "val", "test")
OPENINGS = ("what", "where", "when", "whose", "how many", "how much", "how", "who", "why", "which")


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists, dictionaries, text and numbers, and runs nothing."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        raise pickle.UnpicklingError(f"{module_name}.{global_name} is no plain data")


def read(options: Options) -> Iterator[Record]:
    """The questions of each split's own list."""
    images = locate(options, "images")
    for split in SPLITS:
        path = find_split(options, f"qas/{split}/{split}_qa.pkl")
        for number, row in enumerate(_unpickle(path) if path else (), 1):
            place = f"entry {number} of {path}"
            question, answer = (text_of(row, name, place, default="") for name in ("question", "answer"))
            yield Record(
                image=inside(images / split, f"{text_of(row, 'image', place)}.jpg"),
                question=question,
                answer=answer,
                closed=is_closed(answer),
                kind=_kind(question, answer),
                split=split,
            )


def _unpickle(path: Path) -> list[Any]:
    try:
        with path.open("rb") as file:
            rows = _PlainUnpickler(file, encoding="utf-8").load()
    except OSError:
        raise
    except Exception as error:  # a broken pickle may raise anything
        raise PreparationError(f"{path} is broken or no plain list; download it again") from error
    if not isinstance(rows, list):
        raise PreparationError(f"{path} holds no list; download it again")
    return rows


def _kind(question: str, answer: str) -> str:
    if is_closed(answer):
        return "yes_no"
    words = question.casefold()
    opening = next((one for one in OPENINGS if words.startswith(f"{one} ")), "other")
    return opening.replace(" ", "_")


if __name__ == "__main__":
    run(read, what="folder with 'qas' and 'images', as the authors' archive has them", leaks=True)
