"""Canonical JSON (RFC 8785): one value, one sequence of bytes, on every machine."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, cast

import rfc8785

from audit.errors import AppendError

LARGEST_INTEGER = 2**53 - 1
DEEPEST = 64

# What Python may write in its own way: whole floats (1.0 for 1), exponents (1e-05 for 0.00001), and the
# order of keys beyond the BMP's surrogates. Text that only looks so is left to the library as well.
_PYTHONS_OWN = re.compile(r"[0-9](?:\.0[,\]}]|e[-+])|[\ue000-\U0010ffff]")


def require_plain(value: object, *, path: str = "entity", depth: int = 0) -> Any:
    """Copy a JSON value into dictionaries, lists and scalars, refusing whatever JSON cannot hold exactly.

    Args:
        value: The value; mappings become dictionaries, tuples lists.
        path: What the value is called in an error.
        depth: How many containers surround it, at most 64.

    Raises:
        AppendError: If a number is not finite or an integer lies beyond 2^53 - 1, if text is not valid
            Unicode or holds NUL, a key is no text, nesting is too deep, or a value is of another type.
    """
    if depth > DEEPEST:
        raise AppendError(f"{path} is nested deeper than {DEEPEST} levels; flatten the entity")
    if isinstance(value, str):
        return _require_unicode(value, path)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > LARGEST_INTEGER:
            raise AppendError(f"{path} is an integer beyond 2^53 - 1, which JSON rounds; record it as text")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise AppendError(f"{path} is {value}, which JSON cannot hold; record null or leave it out")
        return value
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {
            _require_key(key, path): require_plain(item, path=f"{path}.{key}", depth=depth + 1)
            for key, item in items
        }
    if isinstance(value, list | tuple):
        return [
            require_plain(item, path=f"{path}[{index}]", depth=depth + 1)
            for index, item in enumerate(cast("list[object]", value))
        ]
    raise AppendError(
        f"{path} is of type {type(value).__name__}, which is not JSON; convert it to text, a number or a list"
    )


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """Encode a value that `require_plain` returned."""
    # The standard library's encoder is ten times as fast, and differs from RFC 8785 in three things only.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    if _PYTHONS_OWN.search(text) is None:
        return text.encode("utf-8")
    return rfc8785.dumps(dict(value))


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


def _require_key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise AppendError(
            f"{path} has a key of type {type(key).__name__}, but JSON keys are text; convert it"
        )
    return _require_unicode(key, f"a key of {path}")


def _require_unicode(text: str, path: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise AppendError(f"{path} is not valid Unicode text; decode it before recording it") from error
    if "\0" in text:  # PostgreSQL's text holds none, and its JSON functions refuse the escape
        raise AppendError(f"{path} holds a NUL character; remove it before recording it")
    return text
