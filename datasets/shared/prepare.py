"""Our own list of images: python datasets/shared/prepare.py DATA --out FOLDER; see README.md beside this."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from downloads import Options, PreparationError, inside, locate, read_text, text_of
from preparing import Record, run

COLUMNS = ("path", "set", "label", "split", "group")


@dataclass(frozen=True, slots=True, kw_only=True)
class Imaging:
    """What one of the three sets shows."""

    modality: str
    organ: str
    question: str
    answers: Mapping[str, str]
    """By the label of the list."""


SETS = {
    "brain_mri": Imaging(
        modality="MRI",
        organ="brain",
        question="Does this brain MRI show a glioma, a meningioma, a pituitary tumor or no tumor?",
        answers={
            "glioma": "glioma",
            "meningioma": "meningioma",
            "pituitary": "pituitary tumor",
            "no_tumor": "no tumor",
        },
    ),
    "chest_xray": Imaging(
        modality="X-ray",
        organ="chest",
        question="Does this chest X-ray show pneumonia or no finding?",
        answers={"pneumonia": "pneumonia", "no_finding": "no finding"},
    ),
    "breast_us": Imaging(
        modality="ultrasound",
        organ="breast",
        question="Is this breast ultrasound benign, malignant or normal?",
        answers={"benign": "benign", "malignant": "malignant", "normal": "normal"},
    ),
}


def read(options: Options) -> Iterator[Record]:
    """Three questions an image: modality, organ and finding."""
    path = locate(options, "images.csv")
    rows = csv.DictReader(io.StringIO(read_text(path)))
    lacking = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if lacking:
        raise PreparationError(f"{path} has no column {lacking[0]!r}; see datasets/README.md for its columns")
    for number, row in enumerate(rows, 2):
        yield from _ask(row, path, f"line {number} of {path}")


def _ask(row: Mapping[str, str], path: Path, place: str) -> Iterator[Record]:
    imaging = SETS.get(row["set"])
    finding = imaging.answers.get(row["label"]) if imaging else None
    if imaging is None or finding is None or row["split"] not in ("train", "val", "test"):
        raise PreparationError(f"{place} has a set, label or split that datasets/README.md does not list")
    asked = (
        ("modality", "Which imaging modality is this?", imaging.modality),
        ("organ", "Which organ is shown?", imaging.organ),
        (f"{imaging.organ}_finding", imaging.question, finding),
    )
    for kind, question, answer in asked:
        yield Record(
            image=inside(path.parent, row["path"]),
            question=question,
            answer=answer,
            closed=True,
            kind=kind,
            group=text_of(row, "group", place),
            split=row["split"],
        )


if __name__ == "__main__":
    run(read, what="folder with images.csv, as datasets/README.md describes it")
