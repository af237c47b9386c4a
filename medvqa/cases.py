"""The one form of data to learn from and to be measured by: JSON Lines, a question with its answer a line."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

from medvqa.errors import DicomError, TrainingError
from medvqa.models.base import Shot
from medvqa.study import read_study
from medvqa.types import Image

AnswerType: TypeAlias = Literal["closed", "open"]
Split: TypeAlias = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question about one image, and its right answer."""

    image: Path
    """DICOM, PNG or JPEG; in the file relative to it."""
    frame: int | None = None
    """Of a DICOM file with several, from 1 as the file counts them; None for the middle one."""
    question: str
    answer: str
    answer_type: AnswerType
    """`closed`: one of a few answers that the question allows, such as yes or no. `open`: any words."""
    kind: str
    """Of question, such as `brain_finding`; figures are given by it."""
    group: str
    """Ties cases of one patient together: no split should divide them, and they do not count apart."""
    split: Split | None = None
    box: tuple[float, float, float, float] | None = None
    """Where the answer is: left, top, right, bottom in pixels of the image, from its top left corner."""
    mask: Path | None = None
    """Where it is: a PNG of the image's size, not 0 there; or a DICOM SEG. In the file relative to it."""
    also: tuple[str, ...] = ()
    """Other answers that are as right, such as the versions of VQA-Med's test set."""
    language: str = "en"
    """Of question and answer, BCP 47."""


def read_cases(path: Path, *, split: Split | None = None) -> tuple[Case, ...]:
    """Read a `.jsonl` file, one JSON object a line with the fields of `Case`; empty lines are skipped.

    `image`, `question` and `answer` are needed. Left out, `answer_type` follows from the answer (`closed` for
    yes and no), `kind` is `all`, and `group` is the image. Fields with other names are the file's own affair.

    Args:
        path: The file, or a folder with `cases.jsonl`.
        split: Only cases of this split; files without splits have none to choose from.

    Raises:
        TrainingError: If the file cannot be read, a line is malformed or names a file that is not there, or
            nothing is left.
    """
    path = path / "cases.jsonl" if path.is_dir() else path
    try:
        # Text in a line may hold what `splitlines` takes for an end of one, such as U+2028.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(
            f"{path} cannot be read; name a .jsonl file, or a folder with cases.jsonl"
        ) from error
    cases = [
        _parse(line, path.parent, f"line {number} of {path}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    kept = tuple(case for case in cases if split is None or case.split == split)
    if not kept:
        of = "" if split is None else f" whose split is {split}"
        raise TrainingError(f"{path} holds no case{of}; write one JSON object a line")
    return kept


def read_shots(path: Path) -> tuple[Shot, ...]:
    """Cases as examples that a model is shown before it is asked; arguments and errors as of `read_cases`.

    Raises:
        DicomError: If an image cannot be read.
    """
    return tuple(
        Shot(image=read_image(case), question=case.question, answer=case.answer) for case in read_cases(path)
    )


def write_cases(path: Path, cases: Iterable[Case]) -> None:
    """Write a `.jsonl` file; images and masks must lie beside it or below.

    Raises:
        ValueError: If one does not.
        OSError: If the file cannot be written.
    """
    lines = [json.dumps(_describe(case, path.parent), ensure_ascii=False) + "\n" for case in cases]
    path.write_text("".join(lines), encoding="utf-8")


def divided_groups(cases: Iterable[Case]) -> frozenset[str]:
    """Groups with cases in more than one split: what is measured on them may have been learned by heart."""
    splits: defaultdict[str, set[Split | None]] = defaultdict(set)
    for case in cases:
        splits[case.group].add(case.split)
    return frozenset(group for group, found in splits.items() if len(found) > 1)


def read_image(case: Case) -> Image:
    """The case's image as it is shown.

    Raises:
        TrainingError: If the file holds no such image.
    """
    try:
        images = read_study(case.image).images
        if case.frame is None:
            return images[len(images) // 2]
        # Images come in geometric order, which need not be that of the file's frames.
        for index in (case.frame - 1, *range(len(images))):
            if index < len(images) and images[index].ref.frame_number == case.frame:
                return images[index]
    except DicomError as error:
        raise TrainingError(f"{case.image} cannot be read as an image: {error}") from error
    raise TrainingError(f"{case.image} has {len(images)} frames, not {case.frame}; correct its line")


def _parse(line: str, folder: Path, place: str) -> Case:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TrainingError(f"{place} is no JSON; correct it") from error
    if not isinstance(row, dict):
        raise TrainingError(f"{place} is no JSON object; correct it")
    known = cast("dict[str, Any]", row)
    image, question, answer = (_text(known, name, place) for name in ("image", "question", "answer"))
    closed = answer.strip(" .").casefold() in ("yes", "no")
    return Case(
        image=_file(folder, image, place),
        frame=_frame(known.get("frame"), place),
        question=question,
        answer=answer,
        answer_type=_choice(known, "answer_type", get_args(AnswerType), place)
        or ("closed" if closed else "open"),
        kind=_text(known, "kind", place, default="all"),
        group=_text(known, "group", place, default=image),
        split=_choice(known, "split", get_args(Split), place),
        box=_box(known.get("box"), place),
        mask=None if known.get("mask") is None else _file(folder, _text(known, "mask", place), place),
        also=_texts(known.get("also"), place),
        language=_text(known, "language", place, default="en"),
    )


def _text(row: Mapping[str, Any], name: str, place: str, *, default: str | None = None) -> str:
    value = row.get(name)
    if value is None and default is not None:
        return default
    if name in ("answer", "group") and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise TrainingError(f"{place} needs {name!r} as text that is not empty; correct it")
    return value


def _texts(value: Any, place: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(text, str) for text in cast("list[Any]", value)):
        raise TrainingError(f"{place} needs 'also' as a list of texts; correct it")
    return tuple(cast("list[str]", value))


def _file(folder: Path, name: str, place: str) -> Path:
    path = folder / name
    try:
        there = path.is_file()
    except OSError:  # such as a name that is too long for one
        there = False
    if not there:
        raise TrainingError(f"{place} names {name}, which is not there; correct the line or add the file")
    return path


def _frame(value: Any, place: str) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise TrainingError(f"{place} has {value!r} as 'frame', which counts from 1; correct it")
    return value


def _choice(row: Mapping[str, Any], name: str, allowed: tuple[str, ...], place: str) -> Any:
    value = row.get(name)
    if value is not None and value not in allowed:
        raise TrainingError(f"{place} has {value!r} as {name!r}, not one of {', '.join(allowed)}; correct it")
    return value


def _box(value: Any, place: str) -> tuple[float, float, float, float] | None:
    if value is None:
        return None
    try:
        edges = cast("list[Any]", value) if isinstance(value, list) else []
        left, top, right, bottom = (float(edge) for edge in edges)
    except (TypeError, ValueError, OverflowError) as error:
        raise TrainingError(f"{place} needs 'box' as [left, top, right, bottom]; correct it") from error
    if not (0 <= left < right < inf and 0 <= top < bottom < inf):
        raise TrainingError(f"{place} has a 'box' without an inside; it is [left, top, right, bottom]")
    return left, top, right, bottom


def _describe(case: Case, folder: Path) -> dict[str, Any]:
    described = {name: getattr(case, name) for name in Case.__dataclass_fields__}
    described["image"] = case.image.relative_to(folder).as_posix()
    described["mask"] = None if case.mask is None else case.mask.relative_to(folder).as_posix()
    described["also"] = list(case.also) or None
    described["language"] = None if case.language == "en" else case.language
    return {name: value for name, value in described.items() if value is not None}
