"""SLAKE: python datasets/slake/prepare.py DOWNLOAD --out FOLDER. See README.md beside this file.

https://www.med-vqa.com/slake/, Liu et al. 2021, doi:10.1109/ISBI48211.2021.9434010.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from downloads import (
    Options,
    PreparationError,
    find,
    find_split,
    inside,
    is_closed,
    locate,
    read_json,
    read_text,
    text_of,
)
from preparing import Record, run

Box = tuple[float, float, float, float]

# Hugging Face's copy calls the second one validation.json.
SPLITS = {"train": ("train.json",), "val": ("validate.json", "validation.json"), "test": ("test.json",)}
ENGLISH = {
    "左": " left ",
    "右": " right ",
    "肝": " liver ",
    "肺": " lung ",
    "心脏": " heart ",
    "肾": " kidney ",
    "脾": " spleen ",
    "胃": " stomach ",
    "脑": " brain ",
    "膀胱": " bladder ",
    "脊髓": " spinal cord ",
    "肺不张": " atelectasis ",
    "心脏肥大": " cardiomegaly ",
    "肺炎": " pneumonia ",
    "气胸": " pneumothorax ",
}
"""Organs and diseases, so that a Chinese question finds the place, which has an English name."""


def read(options: Options) -> Iterator[Record]:
    """The questions of the three files, in both languages."""
    images = locate(options, "imgs")
    places = Places(options, read_mask_names(options))
    for split, names in SPLITS.items():
        path = next((found for name in names if (found := find(options, name))), None)
        path = path or find_split(options, names[0])
        for number, row in enumerate(read_json(path, list) if path else (), 1):
            yield _parse(row, images, places, split=split, place=f"entry {number} of {path}")


def _parse(row: Any, images: Path, places: Places, *, split: str, place: str) -> Record:
    image = inside(images, text_of(row, "img_name", place))
    question, answer = (text_of(row, name, place, default="") for name in ("question", "answer"))
    language = text_of(row, "q_lang", place).casefold()
    if language not in ("en", "zh"):
        raise PreparationError(f"{place} has an unknown q_lang; download the file again")
    denied = answer.strip(" .。").casefold() in ("no", "否", "不", "没有", "不是", "不包含")
    about = () if denied else (answer, question)
    return Record(
        image=image,
        question=question,
        answer=answer,
        closed=is_closed(answer, text_of(row, "answer_type", place, default="")),
        kind=text_of(row, "content_type", place, default="other").casefold().replace(" ", "_"),
        group=image.parent.name,
        split=split,
        box=places.box(image.parent, about),
        mask=places.mask(image.parent, about),
        language=language,
        extra={"base_type": row.get("base_type")},
    )


def read_mask_names(options: Options) -> dict[str, int]:
    """Names of organs and diseases with their value in mask.png, from mask.txt: a line such as `1:Liver`."""
    path = find(options, "mask.txt")
    if path is None:
        print("masks are left out: the download holds no mask.txt")
        return {}
    pairs = (line.split(":", 1) for line in read_text(path).splitlines() if ":" in line)
    try:
        return {name.strip(): int(value) for value, name in pairs}
    except ValueError as error:
        raise PreparationError(f"{path} has no lines of number:name; download it again") from error


class Places:
    """Boxes and masks of what a question is about, found by its name."""

    def __init__(self, options: Options, mask_names: Mapping[str, int]) -> None:
        self._options = options
        self._mask_names = mask_names
        self._boxes = cache(read_boxes)
        self._mask = cache(self._make_mask)

    def box(self, folder: Path, texts: Iterable[str]) -> Box | None:
        """Box of the one thing that the first text with a name of the image's boxes names."""
        boxes = self._boxes(folder / "detection.json")
        name = named(texts, boxes)
        return None if name is None or len(boxes[name]) != 1 else boxes[name][0]

    def mask(self, folder: Path, texts: Iterable[str]) -> Path | None:
        """Mask of it, not 0 where it is."""
        name = named(texts, self._mask_names)
        return None if name is None else self._mask(folder, name)

    def _make_mask(self, folder: Path, name: str) -> Path | None:
        from PIL import Image

        try:
            with Image.open(folder / "mask.png") as file, Image.open(folder / "source.jpg") as source:
                values = file.getchannel(0)
                same_size = file.size == source.size
        except OSError:
            return None
        mask = values.point([255 if value == self._mask_names[name] else 0 for value in range(256)])
        if values.mode not in ("L", "P") or not same_size or mask.getbbox() is None:
            return None
        path = self._options.masks / f"{folder.name}-{name.casefold().replace(' ', '-')}.png"
        mask.save(path)
        return path


def named(texts: Iterable[str], names: Iterable[str]) -> str | None:
    """The name that the first text with any of `names` holds; None where it holds several."""
    for text in texts:
        for chinese, english in sorted(ENGLISH.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(chinese, english)
        words = f" {' '.join(re.findall(r'[a-z]+', text.casefold()))} "
        found = [name for name in names if f" {name.casefold()} " in words]
        longest = [name for name in found if not any(name != one and name in one for one in found)]
        if longest:
            return longest[0] if len(longest) == 1 else None
    return None


def read_boxes(path: Path) -> dict[str, list[Box]]:
    """Boxes by name, from a list of objects such as `{"Liver": [x, y, width, height]}`."""
    if not path.is_file():
        return {}
    boxes: dict[str, list[Box]] = {}
    try:
        for one in read_json(path, list):
            for name, (left, top, width, height) in one.items():
                box = (max(left, 0.0), max(top, 0.0), left + width, top + height)
                if width > 0 and height > 0:
                    boxes.setdefault(name.strip(), []).append(box)
    except (AttributeError, TypeError, ValueError) as error:
        raise PreparationError(f"{path} is no list of boxes; download it again") from error
    return boxes


if __name__ == "__main__":
    run(read, what="folder with 'imgs', train.json, validate.json, test.json and mask.txt")
