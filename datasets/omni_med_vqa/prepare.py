"""OmniMedVQA: python datasets/omni_med_vqa/prepare.py DOWNLOAD --out FOLDER. See README.md beside this file.

https://huggingface.co/datasets/foreverbeliever/OmniMedVQA, Hu et al. 2024, arXiv:2402.09181.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from downloads import Options, PreparationError, inside, locate, read_json, text_of
from preparing import Record, run

LISTS = "QA_information/Open-access"
OPTIONS = ("option_A", "option_B", "option_C", "option_D")


def read(options: Options) -> Iterator[Record]:
    """The questions of every open-access set, all of them a test."""
    folder = locate(options, LISTS)
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise PreparationError(f"{folder} holds no .json file; unpack all of OmniMedVQA.zip")
    root = folder.parents[1]
    for path in paths:
        for number, row in enumerate(read_json(path, list), 1):
            yield _parse(row, root, f"entry {number} of {path}")


def _parse(row: Any, root: Path, place: str) -> Record:
    listed = [option for name in OPTIONS if (option := text_of(row, name, place, default=""))]
    if not listed:
        raise PreparationError(f"{place} has no options to choose from; download it again")
    return Record(
        image=inside(root, text_of(row, "image_path", place)),
        question=_asked(text_of(row, "question", place, default=""), listed),
        answer=text_of(row, "gt_answer", place, default=""),
        closed=True,
        kind=text_of(row, "question_type", place, default="other").casefold().replace(" ", "_"),
        split="test",
        extra={
            "options": listed,
            # The list of Chest CT Scan calls this field `modality`.
            "modality": row.get("modality_type") or row.get("modality"),
            "dataset": row.get("dataset"),
        },
    )


def _asked(question: str, listed: list[str]) -> str:
    """The question as the authors' question-answering score puts it to a model, to the letter."""
    return question and (
        f"{question}Here are {len(listed)} candidate answers:{listed}"
        " Only return what you think is the correct answer from the candidate answers,"
        " do not return any other irrelevant text!"
    )


if __name__ == "__main__":
    run(read, what="folder with 'Images' and 'QA_information', as OmniMedVQA.zip has them")
