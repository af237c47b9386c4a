"""VQA-RAD: python datasets/vqa_rad/prepare.py DOWNLOAD --out FOLDER. See README.md beside this file.

https://osf.io/89kps/, Lau et al. 2018, doi:10.1038/sdata.2018.251.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from downloads import Options, PreparationError, inside, is_closed, locate, read_json, text_of
from preparing import Record, run

QUESTIONS = "VQA_RAD Dataset Public.json"
IMAGES = "VQA_RAD Image Folder"
SPLITS = {"freeform": "train", "para": "train", "test_freeform": "test", "test_para": "test"}
KINDS = {
    "abn": "abnormality",
    "attrib": "attribute",
    "count": "counting",
    "pos": "position",
    "pres": "presence",
}


def read(options: Options) -> Iterator[Record]:
    """The 2,248 questions of the public file."""
    path = locate(options, QUESTIONS)
    images = locate(options, IMAGES)
    groups: dict[Path, str] = {}
    for number, row in enumerate(read_json(path, list), 1):
        record = _parse(row, images, f"entry {number} of {path}")
        # An image belongs to one group, whatever its rows say.
        yield replace(record, group=groups.setdefault(record.image, record.group or ""))


def _parse(row: Any, images: Path, place: str) -> Record:
    phrase = text_of(row, "phrase_type", place).casefold()
    if phrase not in SPLITS:
        raise PreparationError(f"{place} has an unknown phrase_type; download the file again")
    # Several types are listed with commas: the first is the main one.
    kind = text_of(row, "question_type", place, default="other").split(",")[0].strip().casefold()
    image = inside(images, text_of(row, "image_name", place))
    answer = text_of(row, "answer", place, default="")
    case = text_of(row, "image_case_url", place, default="")
    return Record(
        image=image,
        question=text_of(row, "question", place, default=""),
        answer=answer,
        closed=is_closed(answer, text_of(row, "answer_type", place, default="")),
        kind=KINDS.get(kind, kind),
        # MedPix's case is the nearest to a patient that the set names.
        group=case if case.startswith("http") else image.stem,
        split=SPLITS[phrase],
    )


if __name__ == "__main__":
    run(read, what=f"folder with {QUESTIONS!r} and {IMAGES!r}", leaks=True)
