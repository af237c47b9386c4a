"""VQA-Med 2021: python datasets/vqa_med_2021/prepare.py DOWNLOAD --out FOLDER; see README.md beside this.

https://github.com/abachaa/VQA-Med-2021, Ben Abacha et al. 2021, CLEF Working Notes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from downloads import Options, PreparationError, find_split, locate, read_lines
from preparing import Record, run
from vqa_med import record_of

PAIRS = (
    ("train", "VQAnswering_2020_Train_QA_pairs.txt", "VQAnswering_2020_Train_images"),
    ("train", "VQAnswering_2020_Val_QA_Pairs.txt", "VQAnswering_2020_Val_images"),
    (
        "val",
        "VQA-Med-2021-VQAnswering-Task1-New-ValidationSet.txt",
        "ImageCLEF-2021-VQA-Med-New-Validation-Images",
    ),
)
QUESTIONS = "Task1-VQA-2021-TestSet-Questions.txt"
ANSWERS = "Task1-VQA-2021-TestSet-ReferenceAnswers.txt"
TEST_IMAGES = "VQA-500-Images"


def read(options: Options) -> Iterator[Record]:
    """Training (all of the 2020 set's pairs), validation, and the test with its reference answers."""
    for split, pairs, folder in PAIRS:
        path = find_split(options, pairs)
        if path:
            images = locate(options, folder)
            for name, question, answer in read_lines(path, parts=3):
                yield record_of(images, name, question, [answer], kind="abnormality", split=split)
    questions = find_split(options, QUESTIONS)
    if questions:
        yield from _read_test(questions, locate(options, ANSWERS), locate(options, TEST_IMAGES))


def _read_test(questions: Path, answers: Path, images: Path) -> Iterator[Record]:
    accepted = {name: listed.split("|") for name, listed in read_lines(answers, parts=2)}
    for name, question in read_lines(questions, parts=2):
        if name not in accepted:
            raise PreparationError(f"{answers} has no answer about {name}; download it again")
        listed = [one.strip() for one in accepted[name] if one.strip()] or [""]
        yield record_of(images, name, question, listed, kind="abnormality", split="test")


if __name__ == "__main__":
    run(read, what="folder with the unpacked archives of VQA-Med 2020 (training) and 2021 (validation, test)")
