"""How model families write boxes, polygons and lines of text, read strictly.

An answer is read whole or not at all: what does not follow the family's form is a `FormatError`, and an empty
tuple means that the model said, in its form, that there is nothing.

References: `Florence2Processor.post_process_generation` of transformers (1000 bins a side, of which a place
is the middle); Qwen2-VL, arXiv 2409.12191, and Qwen3-VL's cookbook (0 to 1000); Qwen2.5-VL, arXiv 2502.13923
(pixels of the picture after its resizing); PaliGemma, arXiv 2407.07726 (1024 bins a side).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as schema

from medvqa.errors import FormatError

if TYPE_CHECKING:
    from medvqa.tasks.picture import Corners, Ring

_CONTROL = re.compile(r"</?s>|<pad>|<eos>|<bos>|<\|im_end\|>|<\|endoftext\|>")
"""Tokens that begin, end or fill an answer."""


@dataclass(frozen=True, slots=True)
class Located:
    """A box in the picture that the model saw."""

    label: str
    corners: Corners
    """As fractions of the picture."""


@dataclass(frozen=True, slots=True)
class Outlined:
    """Polygons of one thing in the picture that the model saw."""

    label: str
    rings: tuple[Ring, ...]
    """Points as fractions of the picture."""


def strip_control(text: str) -> str:
    """The answer without the tokens that begin, end or fill it."""
    return _CONTROL.sub("", text).strip()


def read_florence_boxes(text: str, *, asked: str, size: tuple[int, int]) -> tuple[Located, ...]:  # noqa: ARG001
    """`tumor<loc_52><loc_332><loc_932><loc_774>...`: columns before rows, any number of boxes a label."""
    return tuple(
        Located(label, _corners(left / 1000, top / 1000, right / 1000, bottom / 1000))
        for label, places in _labelled(text, r"<loc_(\d{1,3})>", 4, "boxes")
        for left, top, right, bottom in _groups([place + 0.5 for place in places], 4)
    )


def read_florence_lines(text: str, *, asked: str, size: tuple[int, int]) -> tuple[Located, ...]:  # noqa: ARG001
    """`kVp 120<loc_1>...<loc_8>`: four corners around each line; the box around them is taken."""
    return tuple(
        Located(label, _around([(row / 1000, column / 1000) for column, row in _groups(corners, 2)]))
        for label, places in _labelled(text, r"<loc_(\d{1,3})>", 8, "lines of text")
        for corners in _groups([place + 0.5 for place in places], 8)
    )


def read_florence_polygons(text: str, *, asked: str, size: tuple[int, int]) -> tuple[Outlined, ...]:  # noqa: ARG001
    """`<loc_1><loc_2>...<sep>...`, with or without `<poly>` around: points of column and row."""
    answer = strip_control(text).replace("<poly>", "").replace("</poly>", "<sep>").removesuffix("<sep>")
    if not answer:
        return ()
    rings: list[Ring] = []
    for part in answer.split("<sep>"):
        places = _numbers(part, r"<loc_(\d{1,3})>")
        if places is None or len(places) % 2 or len(places) < 6:
            raise _unreadable("polygons")
        points = _groups([(place + 0.5) / 1000 for place in places], 2)
        rings.append(tuple((row, column) for column, row in points))
    return (Outlined(asked, tuple(rings)),)


def read_paligemma_boxes(text: str, *, asked: str, size: tuple[int, int]) -> tuple[Located, ...]:  # noqa: ARG001
    """`<loc0052><loc0332><loc0932><loc0774> tumor ; ...`: rows before columns."""
    answer = strip_control(text)
    found: list[Located] = []
    for part in answer.split(";") if answer else ():
        match = re.fullmatch(r"\s*((?:<loc\d{4}>){4})\s*([^<>;]*?)\s*", part)
        places = None if match is None else _numbers(match[1], r"<loc(\d{4})>")
        if match is None or places is None or max(places) > 1023:
            raise _unreadable("boxes")
        top, left, bottom, right = (place / 1024 for place in places)
        found.append(Located(match[2] or asked, _corners(left, top, right, bottom)))
    return tuple(found)


def read_qwen2_boxes(text: str, *, asked: str, size: tuple[int, int]) -> tuple[Located, ...]:  # noqa: ARG001
    """`<|object_ref_start|>tumor<|object_ref_end|><|box_start|>(52,332),(932,774)<|box_end|>`: 0 to 1000."""
    answer = strip_control(text)
    one = (
        r"(?:<\|object_ref_start\|>([^<>]*)<\|object_ref_end\|>)?"
        r"<\|box_start\|>\((\d{1,4}),(\d{1,4})\),\((\d{1,4}),(\d{1,4})\)<\|box_end\|>"
    )
    if not re.fullmatch(rf"(?:{one}[\s.,]*)*", answer):
        raise _unreadable("boxes")
    return tuple(
        Located(
            match[1].strip() if match[1] else asked, _corners(*(int(match[i]) / 1000 for i in range(2, 6)))
        )
        for match in re.finditer(one, answer)
    )


def read_qwen3_boxes(text: str, *, asked: str, size: tuple[int, int]) -> tuple[Located, ...]:  # noqa: ARG001
    """`[{"bbox_2d": [52, 332, 932, 774], "label": "tumor"}]`, fenced or not: 0 to 1000."""
    return _json_boxes(text, asked=asked, size=(1000, 1000))


def read_qwen2_5_boxes(text: str, *, asked: str, size: tuple[int, int]) -> tuple[Located, ...]:
    """The same, in pixels of the picture of `size` (rows, columns)."""
    return _json_boxes(text, asked=asked, size=size)


@schema(frozen=True, config=ConfigDict(extra="ignore", strict=True))
class _JsonBox:
    bbox_2d: Annotated[list[float], Field(min_length=4, max_length=4)]
    label: str | None = None


_JSON_BOXES: TypeAdapter[list[_JsonBox] | _JsonBox] = TypeAdapter(list[_JsonBox] | _JsonBox)


def _json_boxes(text: str, *, asked: str, size: tuple[int, int]) -> tuple[Located, ...]:
    answer = strip_control(text)
    fenced = re.fullmatch(r"```(?:json)?\s*(.*?)\s*```", answer, re.DOTALL)
    try:
        read = _JSON_BOXES.validate_json(fenced[1] if fenced else answer)
    except ValidationError as error:
        raise _unreadable("boxes") from error
    rows, columns = size
    return tuple(
        Located(box.label or asked, _corners(left / columns, top / rows, right / columns, bottom / rows))
        for box in ([read] if isinstance(read, _JsonBox) else read)
        for left, top, right, bottom in [box.bbox_2d]
    )


def _labelled(text: str, place: str, places: int, what: str) -> Iterator[tuple[str, list[int]]]:
    """Each label of Florence-2 with the numbers of the places behind it."""
    answer, bare = strip_control(text), place.replace("(", "").replace(")", "")
    one = rf"([^<>]+?)((?:(?:{bare}){{{places}}})+)"
    if not re.fullmatch(rf"(?:{one})*", answer):
        raise _unreadable(what)
    for match in re.finditer(one, answer):
        yield match[1].strip(), _numbers(match[2], place) or []


def _numbers(text: str, place: str) -> list[int] | None:
    """The numbers in places that follow each other; None where there is anything else."""
    bare = place.replace("(", "").replace(")", "")
    return [int(number) for number in re.findall(place, text)] if re.fullmatch(f"(?:{bare})+", text) else None


def _groups(numbers: list[float], size: int) -> Iterator[list[float]]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


def _corners(left: float, top: float, right: float, bottom: float) -> Corners:
    """In this module's order, if it is a box within the picture."""
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise FormatError(
            "the model answered with a box that has no area or lies outside the picture it was shown, so "
            "none is given; ask in other words, or use another model"
        )
    return top, left, bottom, right


def _around(points: list[tuple[float, float]]) -> Corners:
    rows, columns = zip(*points, strict=True)
    return _corners(min(columns), min(rows), max(columns), max(rows))


def _unreadable(what: str) -> FormatError:
    return FormatError(
        f"the model answered, but not in its form for {what}, so none are given; ask in other words, allow a "
        "longer answer (max_new_tokens), or use another model"
    )
