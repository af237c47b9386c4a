"""Whatever single field, byte or bit of whatever row is changed: it is found, and no other row is blamed."""

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from signed_trails import REPEATED, ROWS, Trail, signed_trail
from tampering import (
    alter,
    loosen,
    restore,
    save,
    unguarded,
)

import audit

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)
VALUES: dict[str, st.SearchStrategy[object]] = {
    **dict.fromkeys(REPEATED, st.none() | TEXT | st.just("None")),
    "confidence": st.none() | st.floats(),
    "body": st.none() | TEXT,
    "hashes": st.none() | st.binary(max_size=99),
    "sequence": st.integers(-(2**63), 2**63 - 1),
}


def changes(column: str) -> st.SearchStrategy[tuple[str, object]]:
    return VALUES[column].map(lambda value: (column, value))


@pytest.fixture
def loose_trail(trail_url: str) -> Trail:
    """A trail whose table was rebuilt without constraints: it takes anything."""
    trail = signed_trail(trail_url)
    with unguarded(trail.url) as intruder:
        loosen(intruder)
    return trail


def found_after(trail: Trail, row: int, column: str, value: object) -> list[audit.Problem]:
    """Change one field, verify, and put everything back."""
    with unguarded(trail.url) as intruder:
        saved = save(intruder)
        before = intruder.value(column, row)
        alter(intruder, row, **{column: value})
        if intruder.execute("SELECT 1 FROM event WHERE sequence = ?", [row]):
            assume(intruder.value(column, row) != before)
    problems = trail.verify().problems
    with unguarded(trail.url) as intruder:
        restore(intruder, saved)
    return list(problems)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(row=st.integers(1, ROWS), changed=st.sampled_from(sorted(VALUES)).flatmap(changes))
def test_any_field_of_any_row_is_found_when_it_changes(
    loose_trail: Trail, row: int, changed: tuple[str, object]
) -> None:
    column, value = changed
    assume(column != "sequence" or value != row)
    problems = found_after(loose_trail, row, column, value)
    assert problems
    blamed = {value, row, ROWS + 1} if column == "sequence" else {row}
    assert {problem.sequence for problem in problems} <= blamed
    assert {problem.field for problem in problems} <= {column, None}


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(row=st.integers(1, ROWS), place=st.integers(0, 10_000), bit=st.integers(0, 7))
@pytest.mark.parametrize("column", ["body", "hashes"])
def test_any_flipped_bit_of_a_body_or_hash_is_found(
    loose_trail: Trail, column: str, row: int, place: int, bit: int
) -> None:
    with unguarded(loose_trail.url) as intruder:
        text = isinstance(intruder.value(column, row), str)
        held = bytearray(intruder.value(column, row).encode() if text else intruder.value(column, row))
    held[place % len(held)] ^= 1 << bit
    value = held.decode(errors="replace").replace("\0", "0") if text else bytes(held)
    problems = found_after(loose_trail, row, column, value)
    assert problems
    # A hash that no subtree holds yet and a leaf's inner one may stand for the rows below it.
    assert {problem.sequence for problem in problems} <= set(
        range(1, ROWS + 1) if column == "hashes" else [row]
    )
