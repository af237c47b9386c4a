"""Reading what a person has downloaded, where a file may be missing, broken or another one than expected."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

_DEPTH = 4


class PreparationError(Exception):
    """The download is not what its set's card says; one sentence tells what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person asked for."""

    download: Path
    out: Path
    copy: bool
    allow_missing: bool
    clean_split: bool
    masks: Path
    """Empty folder for masks that are made; what is named in a record is kept."""


def locate(options: Options, name: str) -> Path:
    """Find a file or folder of the download by its official name, at most four folders deep.

    Raises:
        PreparationError: If it is not there.
    """
    found = find(options, name)
    if found is None:
        raise PreparationError(
            f"{options.download} holds no {name!r}; name the folder of the whole, unpacked download"
        )
    return found


def find(options: Options, name: str) -> Path | None:
    """Like `locate`, but None for what is not there."""
    level = [options.download]
    for _ in range(_DEPTH):
        for folder in level:
            if (folder / name).exists():
                return folder / name
        level = [Path(one) for folder in level for one in os.scandir(folder) if one.is_dir()]
    return None


def find_split(options: Options, name: str) -> Path | None:
    """The file or folder of one split; None where it is missing and may be.

    Raises:
        PreparationError: If it is missing and `--allow-missing` was not given.
    """
    return find(options, name) if options.allow_missing else locate(options, name)


def inside(folder: Path, name: Any) -> Path:
    """`folder / name`, for a name that the download gives.

    Raises:
        PreparationError: If it is no relative path, or leads out of the folder.
    """
    path = PurePosixPath(name) if isinstance(name, str) and name.strip() else None
    if path is None or path.is_absolute() or ".." in path.parts:
        raise PreparationError(f"{name!r} is no name of a file inside the download; download the set again")
    return folder / path


def read_json(path: Path, expected: type) -> Any:
    """Read a JSON file that holds a list or an object.

    Raises:
        PreparationError: If it does not.
    """
    try:
        value = json.loads(read_text(path))
    except ValueError as error:
        raise PreparationError(f"{path} is no JSON; download it again") from error
    if not isinstance(value, expected):
        raise PreparationError(
            f"{path} holds no {'list' if expected is list else 'object'}; download it again"
        )
    return value


def read_text(path: Path) -> str:
    """Read text in UTF-8, or in Windows' Latin alphabet, which some of the older files are in."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def read_lines(path: Path, *, parts: int) -> Iterator[list[str]]:
    """Lines of a file, their parts divided by `|`; what is over stays in the last part, which may be empty.

    Raises:
        PreparationError: If a line has fewer parts, or begins with an empty one.
    """
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.strip():
            values = [value.strip() for value in line.split("|", parts - 1)]
            if len(values) < parts or not values[0]:
                raise PreparationError(f"line {number} of {path} has no {parts} parts; download it again")
            yield values


def text_of(row: Any, name: str, place: str, *, default: str | None = None) -> str:
    """A field as text on one line; a number as it is written; `default` where it is missing or empty.

    Raises:
        PreparationError: If there is neither.
    """
    value = row.get(name) if isinstance(row, dict) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    cleaned = " ".join(value.split()) if isinstance(value, str) else ""
    if not cleaned and default is None:
        raise PreparationError(f"{place} has no {name!r}; download it again")
    return cleaned or default or ""


def is_closed(answer: str, answer_type: str = "") -> bool:
    """Whether a question is a closed one: as the set says, or else where the answer is yes or no."""
    if answer_type.casefold() in ("open", "closed"):
        return answer_type.casefold() == "closed"
    return answer.strip(" .").casefold() in ("yes", "no")
