"""VQA-RAD: python datasets/vqa_rad/prepare.py DOWNLOAD --out FOLDER. See README.md beside this file.

https://osf.io/89kps/, Lau et al. 2018, doi:10.1038/sdata.2018.251.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from downloads import Options, PreparationError, inside, locate, read_json, text_of
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
    for number, row in enumerate(read_json(path, list), 1):
        yield _parse(row, images, f"entry {number} of {path}")


def _parse(row: Any, images: Path, place: str) -> Record:
    phrase = text_of(row, "phrase_type", place).casefold()
    answer_type = text_of(row, "answer_type", place).casefold()
    if phrase not in SPLITS or answer_type not in ("open", "closed"):
        raise PreparationError(f"{place} has an unknown phrase_type or answer_type; download the file again")
    # Several types are listed with commas: the first is the main one.
    kind = text_of(row, "question_type", place).split(",")[0].strip().casefold()
    image = inside(images, text_of(row, "image_name", place))
    case = row.get("image_case_url")
    return Record(
        image=image,
        question=text_of(row, "question", place),
        answer=text_of(row, "answer", place),
        closed=answer_type == "closed",
        kind=KINDS.get(kind, kind),
        # MedPix's case is the nearest to a patient that the set names.
        group=case.strip() if isinstance(case, str) and case.strip() else image.stem,
        split=SPLITS[phrase],
    )


if __name__ == "__main__":
    run(read, what=f"folder with {QUESTIONS!r} and {IMAGES!r}", leaks=True)
