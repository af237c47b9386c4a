"""Canonical JSON (RFC 8785): one value, one sequence of bytes, on every machine."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

import orjson
import rfc8785

from audit.errors import AppendError

LARGEST_INTEGER = 2**53 - 1
DEEPEST = 64

_EXPONENT = re.compile(rb"[:,\[]-?[0-9][0-9.]*e")
_BEYOND_SURROGATES = re.compile("[\ue000-\U0010ffff]")


def require_plain(value: object, *, name: str = "entity") -> Any:
    """Copy a JSON value into dictionaries, lists and scalars, refusing whatever JSON cannot hold exactly.

    Args:
        value: The value; mappings become dictionaries, tuples lists; nested at most 64 deep.
        name: What the value is called in an error.

    Raises:
        AppendError: If a number is not finite or an integer lies beyond 2^53 - 1, if text is not valid
            Unicode or holds NUL, a key is no text, nesting is too deep, or a value is of another type.
    """
    if (copied := _copied(value)) is not None:
        return copied
    try:
        return _plain(value, 0)
    except _UnfitError as unfit:
        raise AppendError(f"{name}{_place_of_unfit(value, 0)} {unfit}") from unfit.__cause__


def _copied(value: object) -> Any:
    """A copy, made ten times as fast as by `_plain`; None where that must look at each value by itself."""
    try:
        encoded = orjson.dumps(value, option=orjson.OPT_STRICT_INTEGER)
    except TypeError:
        return None
    copied = orjson.loads(encoded)
    # Numbers that are none, and objects that orjson turns into text, do not come back as they were.
    exact = copied == value and b"\\u0000" not in encoded
    return copied if exact and encoded.count(b"{") + encoded.count(b"[") <= DEEPEST else None


class _UnfitError(Exception):
    """Raised with what is wrong with a value that JSON cannot hold."""


def _plain(value: object, depth: int) -> Any:
    if isinstance(value, str):
        return _require_unicode(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > LARGEST_INTEGER:
            raise _UnfitError("is an integer beyond 2^53 - 1, which JSON rounds; record it as text")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _UnfitError(f"is {value}, which JSON cannot hold; record null or leave it out")
        return value
    if depth > DEEPEST:
        raise _UnfitError(f"is nested deeper than {DEEPEST} levels; flatten the entity")
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {_require_key(key): _plain(item, depth + 1) for key, item in items}
    if isinstance(value, list | tuple):
        items = cast("list[object]", value)
        return [_plain(item, depth + 1) for item in items]
    raise _UnfitError(
        f"is of type {type(value).__name__}, which is not JSON; convert it to text, a number or a list"
    )


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """Encode a value that `require_plain` returned."""
    # orjson is a hundred times as fast, and differs from RFC 8785 in three things only: whole floats (1.0 for
    # 1), exponents (1e16 for 10000000000000000), and the order of keys beyond the BMP's surrogates. Text that
    # only looks so is left to the slower library as well.
    encoded = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    whole = b".0," in encoded or b".0}" in encoded or b".0]" in encoded
    beyond = not encoded.isascii() and _BEYOND_SURROGATES.search(encoded.decode())
    return rfc8785.dumps(dict(value)) if whole or beyond or _EXPONENT.search(encoded) else encoded


def parse_json(body: str) -> Any:
    """Decode canonical JSON.

    Integers beyond 2^53 - 1 were floats when they were recorded (RFC 8785 writes 1e20 in digits), so
    they come back as floats and the value encodes to the same bytes again.

    Raises:
        ValueError: If the text is not JSON.
        RecursionError: If it is nested too deeply.
    """
    return json.loads(body, parse_int=_parse_integer, parse_constant=_refuse_constant)


def _parse_integer(digits: str) -> int | float:
    number = int(digits)
    return number if abs(number) <= LARGEST_INTEGER else float(digits)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _place_of_unfit(value: object, depth: int) -> str:
    """Where in a value that `_plain` refused the trouble lies, such as `.tokens[2].text`."""
    if depth > DEEPEST or not isinstance(value, Mapping | list | tuple):
        return ""
    mapping = isinstance(value, Mapping)
    items = cast("Iterable[tuple[object, object]]", value.items() if mapping else enumerate(value))
    for key, item in items:
        try:
            _plain(item, depth + 1)
        except _UnfitError:
            return (f".{key}" if mapping else f"[{key}]") + _place_of_unfit(item, depth + 1)
    return ""


def _require_key(key: object) -> str:
    if not isinstance(key, str):
        raise _UnfitError(f"has a key of type {type(key).__name__}, but JSON keys are text; convert it")
    return _require_unicode(key)


def _require_unicode(text: str) -> str:
    if text.isascii() and "\0" not in text:
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _UnfitError("is not valid Unicode text; decode it before recording it") from error
    if "\0" in text:  # PostgreSQL's text holds none, and its JSON functions refuse the escape
        raise _UnfitError("holds a NUL character; remove it before recording it")
    return text
