"""Rows that were tampered with behind the library's back are found and named: the right rows, and no others.

The ways to tamper stand in `tampering.py`; each test runs on SQLite and on PostgreSQL.
"""

from dataclasses import replace
from pathlib import Path

import pytest
from signed_trails import REPEATED, ROWS, Found, Trail, entry, signed_trail
from tampering import (
    alter,
    change_body,
    close_gap,
    delete,
    edit_file,
    loosen,
    rehash,
    renumber,
    repeat,
    swap,
    tree_root,
    unguarded,
)

import audit


@pytest.fixture
def trail(trail_url: str) -> Trail:
    return signed_trail(trail_url)


def test_the_untouched_trail_is_intact_and_its_root_is_rfc_6962s(trail: Trail) -> None:
    calls: list[tuple[int, int]] = []
    with audit.Log(trail.url) as log:
        result = log.verify(keys=[trail.key.verifier], on_progress=lambda *counts: calls.append(counts))
        leaves = [bytes.fromhex(event.hash) for event in log.read()]
    assert (result.intact, result.problems) == (True, ())
    assert (result.events, result.covered, result.checkpoints, result.archived) == (ROWS, 9, 2, 0)
    assert result.root == tree_root(leaves).hex()
    assert calls == [(ROWS, ROWS)]


def test_an_empty_trail_is_intact(trail_url: str) -> None:
    with audit.Log(trail_url) as log:
        result = log.verify()
    assert (result.intact, result.events, result.root) == (True, 0, tree_root([]).hex())


def test_each_altered_column_is_named(trail: Trail) -> None:
    with unguarded(trail.url) as intruder:
        for row, column in enumerate(REPEATED, start=1):
            alter(intruder, row, **{column: 0.99 if column == "confidence" else "other"})
    assert trail.found() == {("altered", row, column) for row, column in enumerate(REPEATED, start=1)}
    assert trail.messages()[0] == "row 1 has another recorded than was recorded"


def test_each_column_set_to_null_is_named(trail: Trail) -> None:
    nulls = list(enumerate((*REPEATED[-1:], *REPEATED[:-1]), start=1))
    with unguarded(trail.url) as intruder:
        loosen(intruder)
        for row, column in nulls:
            alter(intruder, row, **{column: None})
    assert trail.found() == {("altered", row, column) for row, column in nulls}


@pytest.mark.parametrize("column", ["body", "hashes"])
def test_a_body_or_hash_set_to_null_is_named(trail: Trail, column: str) -> None:
    with unguarded(trail.url) as intruder:
        loosen(intruder)
        alter(intruder, 4, **{column: None})
    assert trail.found() == {("malformed", 4, column)}


@pytest.mark.parametrize("row", [1, 7, 8, 11, 12])
def test_an_altered_body_is_named(trail: Trail, row: int) -> None:
    with unguarded(trail.url) as intruder:
        change_body(intruder, row, agent="other")
    assert trail.found() == {("altered", row, "body")}


@pytest.mark.parametrize("row", [1, 8])
def test_a_body_that_is_none_is_named(trail: Trail, row: int) -> None:
    with unguarded(trail.url) as intruder:
        alter(intruder, row, body="{}")
    assert trail.found() == {("malformed", row, "body")}


@pytest.mark.parametrize("row", [2, 4, 8, 12])
def test_an_altered_leaf_hash_is_named_where_its_subtree_tells(trail: Trail, row: int) -> None:
    with unguarded(trail.url) as intruder:
        kept = bytes(intruder.value("hashes", row))
        alter(intruder, row, hashes=bytes([kept[0] ^ 1]) + kept[1:])
    assert trail.found() == {("altered", row, "hashes")}


@pytest.mark.parametrize(("row", "pair"), [(3, "3 to 4"), (4, "3 to 4"), (8, "7 to 8"), (9, "9 to 10")])
def test_a_body_with_a_fitting_leaf_hash_is_found_by_its_subtree(trail: Trail, row: int, pair: str) -> None:
    with unguarded(trail.url) as intruder:
        change_body(intruder, row, agent="other")
        rehash(intruder, row, onward=False, whole=False)
    assert [message.partition(" do not")[0] for message in trail.messages()][-1:] == [f"rows {pair}"]
    assert {problem[0] for problem in trail.found()} <= {"altered", "history"}


def test_a_row_with_all_its_hashes_rewritten_is_found_by_the_next_subtree(trail: Trail) -> None:
    with unguarded(trail.url) as intruder:
        change_body(intruder, 6, agent="other")
        rehash(intruder, 6, onward=False)
    assert trail.found() == {("altered", 5, "hashes")}
    assert trail.messages() == [
        "rows 5 to 8 do not give the hash kept in row 8: one of them was rewritten with its hash"
    ]


@pytest.mark.parametrize(
    ("rows", "messages"),
    [
        ((1,), ["row 1 is missing"]),
        ((3, 4), ["rows 3 to 4 are missing"]),
        ((5,), ["row 5 is missing"]),
        ((1, 8, 9), ["row 1 is missing", "rows 8 to 9 are missing"]),
        (tuple(range(2, 12)), ["rows 2 to 11 are missing"]),
    ],
)
def test_deleted_rows_are_named(trail: Trail, rows: tuple[int, ...], messages: list[str]) -> None:
    with unguarded(trail.url) as intruder:
        delete(intruder, *rows)
    assert trail.messages(*trail.notes) == messages


@pytest.mark.parametrize("gap", [1, 3, 8, 11])
def test_deleting_and_closing_the_gap_is_found(trail: Trail, gap: int) -> None:
    with unguarded(trail.url) as intruder:
        delete(intruder, gap)
        close_gap(intruder, gap)
    assert trail.found() == {("order", row, "sequence") for row in range(gap, ROWS)}
    assert trail.messages()[0] == f"row {gap} was recorded as row {gap + 1}"


@pytest.mark.parametrize(("first", "second"), [(2, 3), (1, 6), (2, 5), (4, 8), (7, 12), (11, 12)])
def test_swapped_rows_are_named_and_no_others(trail: Trail, first: int, second: int) -> None:
    with unguarded(trail.url) as intruder:
        swap(intruder, first, second)
    assert trail.found() == {("order", first, "sequence"), ("order", second, "sequence")}
    assert trail.messages()[0] == f"row {first} was recorded as row {second}"


@pytest.mark.parametrize("row", [1, 4, 12])
@pytest.mark.parametrize("number", [0, 13, 99])
def test_a_renumbered_row_is_named(trail: Trail, row: int, number: int) -> None:
    with unguarded(trail.url) as intruder:
        renumber(intruder, row, number)
    expected: Found = {("order", number, "sequence")}
    if row < ROWS or number > ROWS:
        expected.add(("missing", row, None))
    if number == 99 and row < ROWS:
        expected.add(("missing", 13, None))
    if number == 13 and row == ROWS:
        expected = {("order", 13, "sequence"), ("missing", 12, None)}
    assert trail.found() == expected


@pytest.mark.parametrize("place", [1, 3, 8])
def test_a_row_slipped_in_between_is_named(trail: Trail, place: int) -> None:
    with unguarded(trail.url) as intruder:
        for row in range(ROWS, place - 1, -1):
            renumber(intruder, row, row + 1)
        repeat(intruder, place + 1, place, agent="other")
    assert ("altered", place, "agent") in trail.found()
    assert {row for kind, row, _ in trail.found() if kind == "order"} == set(range(place + 1, ROWS + 2))


@pytest.mark.parametrize("row", [1, 4, 7, 8, 12])
def test_a_second_row_of_one_number_is_named(trail: Trail, row: int) -> None:
    with unguarded(trail.url) as intruder:
        loosen(intruder)
        repeat(intruder, row, row, agent="other")
    found = trail.found()
    assert ("order", row, "sequence") in found
    assert found <= {("order", row, "sequence"), ("altered", row, "agent")}


def test_a_row_appended_by_hand_is_named(trail: Trail) -> None:
    with unguarded(trail.url) as intruder:
        repeat(intruder, 12, 13)
    assert trail.found() == {("order", 13, "sequence")}


@pytest.fixture
def sqlite_trail(tmp_path: Path) -> Trail:
    return signed_trail(f"sqlite:///{tmp_path}/audit.sqlite")


def test_bytes_edited_in_the_file_are_found(sqlite_trail: Trail) -> None:
    trail = sqlite_trail
    edit_file(trail.url, b'"agent":"dr-4"', b'"agent":"dr-9"')
    assert trail.found() == {("altered", 4, "body")}


def test_text_that_is_not_utf_8_is_named(sqlite_trail: Trail) -> None:
    trail = sqlite_trail
    with unguarded(trail.url) as intruder:
        intruder.execute("UPDATE event SET subject = CAST(x'ff41' AS TEXT) WHERE sequence = 2")
        intruder.execute("UPDATE event SET body = CAST(x'7bff7d' AS TEXT) WHERE sequence = 3")
        intruder.execute("UPDATE checkpoint SET note = CAST(x'ff0a0a41' AS TEXT) WHERE number = 1")
    assert trail.found() == {
        ("altered", 2, "subject"),
        ("malformed", 3, "body"),
        ("forged_checkpoint", None, None),
    }


def test_problems_are_listed_up_to_a_limit(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.verification.MOST_PROBLEMS", 4)
    with unguarded(trail.url) as intruder:
        intruder.execute("UPDATE event SET agent = 'other'")
    result = trail.verify()
    assert [problem.kind for problem in result.problems] == ["altered"] * 4 + ["more"]
    assert result.problems[-1].message == f"{ROWS - 4} more problems are not listed"


def test_no_message_quotes_what_a_row_holds(trail: Trail) -> None:
    with unguarded(trail.url) as intruder:
        alter(intruder, 2, subject="DOE^JANE")
        change_body(intruder, 3, agent="DOE^JANE")
        alter(intruder, 4, body="DOE^JANE")
    assert len(trail.found()) == 3
    assert "DOE" not in str(trail.verify().problems)


@pytest.mark.parametrize(("recorded", "altered"), [("None", None), ("7", 7), (None, 7)])
@pytest.mark.parametrize("column", ["role", "patient", "study", "model", "verdict"])
def test_a_value_of_another_type_is_not_taken_for_its_text(
    tmp_path: Path, column: str, recorded: str | None, altered: object
) -> None:
    trail_url = f"sqlite:///{tmp_path}/audit.sqlite"
    with audit.Log(trail_url) as log:
        log.append(replace(entry(1), **{column: recorded}))
    with unguarded(trail_url) as intruder:
        loosen(intruder)
        alter(intruder, 1, **{column: altered})
    with audit.Log(trail_url) as log:
        problems = log.verify().problems
    assert [(problem.kind, problem.field) for problem in problems] == [("altered", column)]


@pytest.mark.parametrize("column", ["recorded", "agent", "action", "subject", "outcome", "source"])
def test_null_is_not_taken_for_the_word_none(trail_url: str, column: str) -> None:
    with audit.Log(trail_url) as log:
        log.append(audit.Entry(agent="None", action="None", subject="None", entity={}))
    with unguarded(trail_url) as intruder:
        loosen(intruder)
        alter(intruder, 1, **{column: None})
    with audit.Log(trail_url) as log:
        problems = log.verify().problems
    assert [(problem.kind, problem.field) for problem in problems] == [("altered", column)]
