"""VQA-Med 2019: python datasets/vqa_med_2019/prepare.py DOWNLOAD --out FOLDER; see README.md beside this.

https://github.com/abachaa/VQA-Med-2019, Ben Abacha et al. 2019, CEUR-WS Vol-2380 paper 272.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from downloads import Options, find_split, locate, read_lines
from preparing import Record, run
from vqa_med import record_of

TEST = "VQAMed2019_Test_Questions_w_Ref_Answers.txt"


def read(options: Options) -> Iterator[Record]:
    """The pairs of training and validation, then the test with its reference answers."""
    for split, folder in (("train", "Train_images"), ("val", "Val_images")):
        path = find_split(options, f"All_QA_Pairs_{split}.txt")
        if path:
            kinds = dict(_categories(path.parent / "QAPairsByCategory", split))
            for name, question, answer in read_lines(path, parts=3):
                kind = kinds.get((name, question), "other")
                yield record_of(path.parent / folder, name, question, [answer], kind=kind, split=split)
    test = find_split(options, TEST)
    if test:
        images = locate(options, "VQAMed2019_Test_Images")
        for name, kind, question, answer in read_lines(test, parts=4):
            yield record_of(images, name, question, _accepted(answer), kind=kind, split="test")


def _categories(folder: Path, split: str) -> Iterator[tuple[tuple[str, str], str]]:
    """Image and question with the category of the file that lists them, such as C1_Modality_train.txt."""
    for path in sorted(folder.glob(f"C*_{split}.txt")):
        category = path.stem.split("_")[1].casefold()
        for name, question, _ in read_lines(path, parts=3):
            yield (name, question), category


def _accepted(answer: str) -> list[str]:
    """All answers that the official scores accept: `#` divides them, and `()` holds what may be left out."""
    listed = [one.strip() for one in answer.split("#") if one.strip()]
    shorter = [" ".join(re.sub(r"\([^)]*\)", " ", one).split()) for one in listed]
    return [one for one in dict.fromkeys([*listed, *shorter]) if one] or [""]


if __name__ == "__main__":
    run(read, what="folder with the three unpacked archives: training, validation and test with its images")
