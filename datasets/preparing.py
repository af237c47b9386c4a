"""What the `prepare.py` scripts share: from a downloaded set to a folder with `cases.jsonl`.

Needs only Python's own library, so that a set can be prepared where medvqa is not installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from downloads import Options, PreparationError

EXIT_CODE = 9
"""Of `medvqa.errors.TrainingError` too: something is wrong with the data."""
LONGEST = 500
"""`medvqa.prompts.MAX_QUESTION_CHARACTERS`."""
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One question about one image; the fields of the table in `datasets/README.md`."""

    image: Path
    """In the download."""
    question: str
    answer: str
    closed: bool
    kind: str
    group: str | None = None
    """None for the content of the image, so that copies under other names belong together."""
    split: str
    box: tuple[float, float, float, float] | None = None
    """Left, top, right, bottom in pixels."""
    mask: Path | None = None
    """In the folder of `Options.masks`."""
    also: tuple[str, ...] = ()
    """Other answers that are as right."""
    language: str = "en"
    extra: dict[str, Any] = field(default_factory=dict)
    """Further fields of the line, which medvqa does not read."""


def run(read: Callable[[Options], Iterable[Record]], *, what: str, leaks: bool = False) -> None:
    """Do what a `prepare.py` does: read the arguments, the download, and write the folder or say why not.

    Args:
        read: Yields the records of a download, in the order of its files.
        what: What DOWNLOAD is, for `--help`.
        leaks: Whether the official split puts images on both sides, so that another one is offered.
    """
    arguments = _parse_arguments(what, leaks=leaks)
    out: Path = arguments.out
    try:
        if not arguments.download.is_dir():
            raise PreparationError(f"{arguments.download} is no folder; name the folder of the download")
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise PreparationError(f"{out} is not empty; name another folder with --out")
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as unfinished:
            folder = Path(unfinished) / "prepared"
            (folder / "masks").mkdir(parents=True)
            options = Options(
                download=arguments.download,
                out=folder,
                copy=arguments.copy,
                allow_missing=arguments.allow_missing,
                clean_split=leaks and arguments.clean_split,
                masks=folder / "masks",
            )
            records = _complete(list(read(options)), options)
            _write(records, options)
            folder.replace(out)
    except PreparationError as error:
        sys.exit(_say(error))
    except OSError as error:
        sys.exit(_say(f"{error.filename or out} cannot be read or written: {error.strerror}; check the disk"))
    except KeyboardInterrupt:
        sys.exit(130)
    _summarise(records, out, leaks=leaks)


def _parse_arguments(what: str, *, leaks: bool) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Write a folder with cases.jsonl, which medvqa reads.")
    parser.add_argument("download", type=Path, metavar="DOWNLOAD", help=what)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="to write; must be empty")
    parser.add_argument("--copy", action="store_true", help="copy the images, rather than link to them")
    parser.add_argument("--allow-missing", action="store_true", help="leave out what the download lacks")
    if leaks:
        parser.add_argument(
            "--clean-split", action="store_true", help="split by image anew, where the official split leaks"
        )
    return parser.parse_args()


def _complete(records: list[Record], options: Options) -> list[Record]:
    """Leave out what has no words or no image, tie copies together, and split anew if asked for."""
    empty = sum(not (record.question and record.answer) for record in records)
    if empty:
        print(f"left out: {empty} of {len(records)} questions that have no words or no answer")
        records = [record for record in records if record.question and record.answer]
    names = list(dict.fromkeys(record.image for record in records))
    there = {image for image in names if image.is_file()}
    missing = [image for image in names if image not in there]
    if missing:
        shown = ", ".join(image.name for image in missing[:_NAMED]) + (", ..." * (len(missing) > _NAMED))
        found = f"{len(missing)} of {len(names)} images are missing ({shown})"
        if not options.allow_missing:
            raise PreparationError(f"{found}; unpack all of the download, or give --allow-missing")
        print(f"left out: {found}")
    if not there:
        raise PreparationError(f"{options.download} holds no case; name the folder of the unpacked download")
    needed = {record.image for record in records if record.group is None and record.image in there}
    digests = {image: _digest(image) for image in needed}
    kept = [
        replace(record, group=record.group or digests[record.image])
        for record in records
        if record.image in there
    ]
    return [replace(one, split=_split(one.group or "")) for one in kept] if options.clean_split else kept


def _digest(image: Path) -> str:
    with image.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _split(group: str) -> str:
    """70 % train, 10 % val, 20 % test, the same for a group on every machine."""
    tenth = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") % 10
    return "test" if tenth < 2 else "val" if tenth == 2 else "train"


def _write(records: Sequence[Record], options: Options) -> None:
    links = _Links(options)
    with (options.out / "cases.jsonl").open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(_describe(record, links, options), ensure_ascii=False) + "\n")
    if not any(options.masks.iterdir()):
        options.masks.rmdir()


def _describe(record: Record, links: _Links, options: Options) -> dict[str, Any]:
    line = {
        "image": links.name(record.image),
        "question": record.question,
        "answer": record.answer,
        "answer_type": "closed" if record.closed else "open",
        "kind": record.kind,
        "group": record.group,
        "split": record.split,
        "box": record.box,
        "mask": None if record.mask is None else record.mask.relative_to(options.out).as_posix(),
        "also": record.also or None,
        "language": None if record.language == "en" else record.language,
        **record.extra,
    }
    return {name: value for name, value in line.items() if value is not None}


class _Links:
    """Images of the prepared folder: links into the download, or copies of it."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._names: dict[Path, str] = {}

    def name(self, image: Path) -> str:
        """Path of an image in the prepared folder, where it is put if it was not asked for before."""
        if image not in self._names:
            name = PurePosixPath("images", image.relative_to(self._options.download).as_posix())
            target = self._options.out / name
            target.parent.mkdir(parents=True, exist_ok=True)
            self._put(image, target)
            self._names[image] = name.as_posix()
        return self._names[image]

    def _put(self, image: Path, target: Path) -> None:
        if not self._options.copy:
            try:
                target.symlink_to(image.resolve())
            except OSError:  # a file system without links
                pass
            else:
                return
        shutil.copyfile(image, target)


def _summarise(records: Sequence[Record], out: Path, *, leaks: bool) -> None:
    images = {record.image for record in records}
    splits = Counter(record.split for record in records)
    listed = ", ".join(f"{splits[name]} {name}" for name in ("train", "val", "test") if splits[name])
    print(f"{len(records)} questions about {len(images)} images ({listed}) are in {out / 'cases.jsonl'}")
    where: defaultdict[str | None, set[str]] = defaultdict(set)
    for record in records:
        where[record.group].add(record.split)
    divided = sum(len(found) > 1 for found in where.values())
    if divided:
        hint = "; --clean-split makes a split by image" if leaks else ""
        print(f"{divided} of {len(where)} groups of images are in more than one split{hint}")
    repeated = len(records) - len({(one.image, one.question, one.answer, one.split) for one in records})
    if repeated:
        print(f"{repeated} questions are there more than once, as in the download")
    long = sum(len(record.question) > LONGEST for record in records)
    if long:
        print(f"{long} questions have more than {LONGEST} characters, which is more than medvqa answers")


def _say(error: object) -> int:
    print(error, file=sys.stderr)
    return EXIT_CODE
