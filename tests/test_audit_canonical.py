"""Canonical JSON: what is taken, what is refused, and that it never changes."""

from enum import Enum
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import AppendError
from audit.canonical import canonical_json, parse_json, require_plain

SAFE = st.integers(-(2**53) + 1, 2**53 - 1)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | SAFE | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
ENTITIES = st.dictionaries(st.text(), JSON_VALUES, max_size=4)


@given(ENTITIES)
def test_encoding_what_was_decoded_gives_the_same_bytes(entity: dict) -> None:
    body = canonical_json(require_plain(entity))
    assert canonical_json(parse_json(body)) == body


@given(ENTITIES)
def test_decoding_gives_equal_values(entity: dict) -> None:
    assert parse_json(canonical_json(require_plain(entity))) == entity


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
    assert isinstance(parse_json(body)["x"], float)


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
        ({"\ud800": 1}, r"a key of entity is not valid Unicode"),
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


@pytest.mark.parametrize("body", [b"NaN", b"{", b"\xff", b"[" * 100_000])
def test_what_is_not_json_is_not_decoded(body: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        parse_json(body)
