"""Canonical JSON: what is taken, what is refused, and that it never changes."""

from enum import Enum
from types import MappingProxyType

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from audit import AppendError
from audit.canonical import canonical_json, parse_json, require_plain

SAFE = st.integers(-(2**53) + 1, 2**53 - 1)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.sampled_from(
    ["\uff21", "\U0001f600"]
)
"""RFC 8785 sorts by UTF-16, where the last of these comes first."""
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | SAFE | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
AWKWARD = st.sampled_from(
    [
        1.0,
        -0.0,
        1e-5,
        1e-6,
        1e-7,
        1e16,
        1e20,
        1e21,
        5e-324,
        1.5e300,
        123456789012345680000.0,
        0.1,
        "1.0,",
        "e-5",
    ]
)
"""Numbers that Python writes otherwise than RFC 8785, and texts that look like them."""
ENTITIES = st.dictionaries(TEXTS, JSON_VALUES, max_size=4)


@given(ENTITIES)
def test_encoding_what_was_decoded_gives_the_same_bytes(entity: dict) -> None:
    body = canonical_json(require_plain(entity))
    assert canonical_json(parse_json(body.decode())) == body


@given(ENTITIES)
def test_decoding_gives_equal_values(entity: dict) -> None:
    assert parse_json(canonical_json(require_plain(entity)).decode()) == entity


@given(ENTITIES | st.dictionaries(TEXTS, AWKWARD | st.lists(AWKWARD, max_size=4), max_size=4))
def test_bytes_are_those_of_the_library(entity: dict) -> None:
    assert canonical_json(require_plain(entity)) == rfc8785.dumps(entity)


def test_bytes_are_those_of_rfc_8785() -> None:
    # RFC 8785, 3.2.2: literals, numbers and strings of the standard's own example.
    entity = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": '€$\x0f\nA\'B"\\\\"/',
        "literals": [None, True, False],
    }
    assert canonical_json(require_plain(entity)).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_are_sorted_and_mappings_and_tuples_are_taken() -> None:
    entity = MappingProxyType({"b": (1, 2), "a": MappingProxyType({})})
    assert canonical_json(require_plain(entity)) == b'{"a":{},"b":[1,2]}'


def test_a_large_float_survives_although_it_is_written_in_digits() -> None:
    body = canonical_json(require_plain({"x": 1e20}))
    assert body == b'{"x":100000000000000000000}'
    assert isinstance(parse_json(body.decode())["x"], float)


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [0, float("nan")]}, r"entity\.a\[1\] is nan"),
        ({"a": float("inf")}, r"entity\.a is inf"),
        ({"a": 2**53}, r"entity\.a is an integer beyond 2\^53 - 1"),
        ({"a": -(2**53)}, r"entity\.a is an integer beyond"),
        ({"a": b"x"}, r"entity\.a is of type bytes"),
        ({"a": {1, 2}}, r"entity\.a is of type set"),
        ({"a": Colour.RED}, r"entity\.a is of type Colour"),
        ({"a": {3: 4}}, r"entity\.a has a key of type int"),
        ({"a": "\ud800"}, r"entity\.a is not valid Unicode"),
        ({"\ud800": 1}, "entity is not valid Unicode"),
        ({"a": ["x\0"]}, r"entity\.a\[0\] holds a NUL character"),
        ({"\0": 1}, "entity holds a NUL character"),
    ],
)
def test_what_json_cannot_hold_is_refused_by_name(value: dict, message: str) -> None:
    with pytest.raises(AppendError, match=message):
        require_plain(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: dict = {}
    loop["again"] = loop
    with pytest.raises(AppendError, match="nested deeper than 64"):
        require_plain(loop)


@pytest.mark.parametrize("body", ["NaN", "-Infinity", "{", "", "[" * 100_000])
def test_what_is_not_json_is_not_decoded(body: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        parse_json(body)
