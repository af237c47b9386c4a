"""Tampering with the database opened behind the library's back is found, and named."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import audit
from audit.chain import chain_hash
from audit.schema import TRIGGERS

ROWS = 6
FIELDS = ("recorded", "agent", "action", "subject", "body", "previous_hash", "hash")


@contextmanager
def tampering(path: Path) -> Iterator[sqlite3.Connection]:
    """Someone who may write the file: drops the triggers, does as they please, and covers their tracks."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")  # these tests write a great many files
    for name in TRIGGERS:
        connection.execute(f"DROP TRIGGER {name}")
    yield connection
    for statement in TRIGGERS.values():
        connection.execute(statement)
    connection.commit()
    connection.close()


def verify(path: Path, **options: str) -> audit.Verification:
    with audit.Log(f"sqlite:///{path}", create=False) as log:
        return log.verify(**options)


def found(path: Path) -> list[tuple[str, int | None, str | None]]:
    return [(problem.kind, problem.sequence, problem.field) for problem in verify(path).problems]


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trail") / "audit.sqlite"
    with audit.Log(f"sqlite:///{path}") as log:
        for number in range(1, ROWS + 1):
            log.append(agent=f"dr-{number}", action="answer", subject=f"s-{number}", entity={"n": number})
    return path


@pytest.fixture
def trail(master: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(master, tmp_path / "audit.sqlite"))


def test_the_untouched_trail_is_intact_and_its_head_is_the_last_hash(trail: Path) -> None:
    calls: list[tuple[int, int]] = []
    with audit.Log(f"sqlite:///{trail}") as log:
        result = log.verify(on_progress=lambda done, total: calls.append((done, total)))
        last = next(log.read(newest_first=True))
    assert result == audit.Verification(intact=True, events=ROWS, head=last.hash, problems=())
    assert calls == [(ROWS, ROWS)]


def test_an_empty_trail_is_intact(tmp_path: Path) -> None:
    with audit.Log(f"sqlite:///{tmp_path}/empty.sqlite") as log:
        result = log.verify(expected_head="0" * 64)
    assert (result.intact, result.events, result.head, result.expected_head_sequence) == (
        True,
        0,
        "0" * 64,
        0,
    )


VALUES = st.text(st.characters(codec="utf-8")) | st.binary() | st.integers(0, 9) | st.just("f" * 64)


@settings(max_examples=80, deadline=None)
@given(row=st.integers(1, ROWS), field=st.sampled_from(FIELDS), value=VALUES)
def test_any_altered_field_of_any_row_is_named(
    master: Path, tmp_path_factory: pytest.TempPathFactory, row: int, field: str, value: object
) -> None:
    trail = Path(shutil.copy(master, tmp_path_factory.mktemp("copy") / "audit.sqlite"))
    with tampering(trail) as connection:
        query = f"SELECT {field} FROM event WHERE sequence = ?"  # noqa: S608
        before = connection.execute(query, [row]).fetchone()[0]
        connection.execute(f"UPDATE event SET {field} = ? WHERE sequence = ?", [value, row])  # noqa: S608
        after = connection.execute(query, [row]).fetchone()[0]
    assume(before != after)
    result = verify(trail)
    assert {problem.sequence for problem in result.problems} == {row}
    # Of the last row's body and hash, no later row says which one is right.
    unknown = {None} if row == ROWS and field in ("body", "hash") else set()
    assert {problem.field for problem in result.problems} <= {field} | unknown
    assert not result.intact


@given(row=st.integers(1, ROWS), position=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(max_examples=30, deadline=None)
def test_any_flipped_bit_of_a_body_is_named(
    master: Path, tmp_path_factory: pytest.TempPathFactory, row: int, position: int, bit: int
) -> None:
    trail = Path(shutil.copy(master, tmp_path_factory.mktemp("copy") / "audit.sqlite"))
    with tampering(trail) as connection:
        body = bytearray(connection.execute("SELECT body FROM event WHERE sequence = ?", [row]).fetchone()[0])
        body[position % len(body)] ^= 1 << bit
        connection.execute("UPDATE event SET body = ? WHERE sequence = ?", [bytes(body), row])
    assert {problem.sequence for problem in verify(trail).problems} == {row}


@pytest.mark.parametrize("row", range(1, ROWS + 1))
@pytest.mark.parametrize("number", [-4, 0, 7, 99])
def test_a_renumbered_row_is_named(trail: Path, row: int, number: int) -> None:
    with tampering(trail) as connection:
        connection.execute("UPDATE event SET sequence = ? WHERE sequence = ?", [number, row])
    expected = {("order", number)} | ({("missing", row)} if row < ROWS else set())
    assert {(kind, sequence) for kind, sequence, _ in found(trail)} == expected


def test_deleted_rows_are_named(trail: Path) -> None:
    with tampering(trail) as connection:
        connection.execute("DELETE FROM event WHERE sequence IN (1, 3, 4)")
    result = verify(trail)
    assert [problem.message for problem in result.problems] == ["row 1 is missing", "rows 3 to 4 are missing"]


def test_deleting_and_closing_the_gap_is_found(trail: Path) -> None:
    with tampering(trail) as connection:
        connection.execute("DELETE FROM event WHERE sequence = 3")
        for row in range(4, ROWS + 1):
            connection.execute("UPDATE event SET sequence = ? WHERE sequence = ?", [row - 1, row])
    assert found(trail) == [("order", 3, "sequence"), ("order", 4, "sequence"), ("order", 5, "sequence")]


@pytest.mark.parametrize(("first", "second"), [(2, 3), (1, 6), (2, 5)])
def test_swapped_rows_are_named(trail: Path, first: int, second: int) -> None:
    with tampering(trail) as connection:
        for old, new in ((first, 100), (second, first), (100, second)):
            connection.execute("UPDATE event SET sequence = ? WHERE sequence = ?", [new, old])
    assert found(trail) == [("order", first, "sequence"), ("order", second, "sequence")]
    assert verify(trail).problems[0].message == f"row {first} was recorded as row {second}"


def rewrite(connection: sqlite3.Connection, row: int, *, onward: bool) -> None:
    """Change the agent of a row, and hash it (and, with `onward`, all rows after it) anew."""
    query = "SELECT sequence, body, previous_hash FROM event WHERE sequence >= ? ORDER BY sequence"
    previous = None
    for sequence, body, previous_hash in connection.execute(query, [row]).fetchall():
        content = json.loads(body)
        if sequence == row:
            content["agent"] = "other"
        body = json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
        previous = previous or previous_hash
        now = chain_hash(previous, body)
        connection.execute(
            "UPDATE event SET agent = ?, body = ?, previous_hash = ?, hash = ? WHERE sequence = ?",
            [content["agent"], body, previous, now, sequence],
        )
        previous = now
        if not onward:
            return


def test_a_row_rewritten_with_a_fitting_hash_breaks_the_link(trail: Path) -> None:
    with tampering(trail) as connection:
        rewrite(connection, 3, onward=False)
    assert found(trail) == [("link", 4, "previous_hash")]


def test_a_deleted_row_reinserted_with_other_content_breaks_the_link(trail: Path) -> None:
    with tampering(trail) as connection:
        row = list(connection.execute("SELECT * FROM event WHERE sequence = 4").fetchone())
        connection.execute("DELETE FROM event WHERE sequence = 4")
        content = json.loads(row[5])
        content["entity"] = {"n": 44}
        row[5] = json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
        row[7] = chain_hash(row[6], row[5])
        connection.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    assert found(trail) == [("link", 5, "previous_hash")]


def test_only_a_noted_head_shows_a_cut_tail_or_a_rewritten_chain(trail: Path, tmp_path: Path) -> None:
    noted = verify(trail).head
    cut, rewritten = (Path(shutil.copy(trail, tmp_path / name)) for name in ("cut", "rewritten"))
    with tampering(cut) as connection:
        connection.execute("DELETE FROM event WHERE sequence > 4")
    with tampering(rewritten) as connection:
        rewrite(connection, 3, onward=True)
    for path in (cut, rewritten):
        assert verify(path).intact  # what a bare chain cannot show
        result = verify(path, expected_head=noted)
        assert [problem.kind for problem in result.problems] == ["head"]
        assert not result.intact


def test_a_noted_head_is_found_after_more_was_appended(trail: Path) -> None:
    noted = verify(trail).head
    with audit.Log(f"sqlite:///{trail}") as log:
        log.append(agent="a", action="b", subject="c", entity={})
        result = log.verify(expected_head=f" {noted.upper()}\n")
    assert (result.intact, result.expected_head_sequence, result.events) == (True, ROWS, ROWS + 1)


@pytest.mark.parametrize("head", ["", "12", "g" * 64, "a" * 63])
def test_a_head_that_is_no_digest_is_refused(trail: Path, head: str) -> None:
    with pytest.raises(audit.ReadError, match="64 hexadecimal digits"):
        verify(trail, expected_head=head)


def test_changed_guards_are_named(trail: Path) -> None:
    connection = sqlite3.connect(trail)
    connection.execute("DROP TRIGGER event_never_updated")
    connection.execute("DROP TRIGGER event_never_deleted")
    connection.execute("CREATE TRIGGER event_never_deleted BEFORE DELETE ON event BEGIN SELECT 1; END")
    connection.execute("CREATE TRIGGER mine AFTER INSERT ON event BEGIN SELECT 1; END")
    connection.close()
    result = verify(trail)
    assert [problem.kind for problem in result.problems] == ["guard"] * 3
    messages = " ".join(problem.message for problem in result.problems)
    assert "event_never_updated is missing" in messages
    assert "event_never_deleted was altered" in messages
    assert "mine is not part of a trail" in messages


def test_text_that_is_not_utf_8_is_named(trail: Path) -> None:
    with tampering(trail) as connection:
        connection.execute("UPDATE event SET subject = CAST(x'ff41' AS TEXT) WHERE sequence = 2")
    assert found(trail) == [("altered", 2, "subject")]


def test_a_malformed_row_is_not_read_and_stops_appending_only_at_the_end(trail: Path) -> None:
    with tampering(trail) as connection:
        connection.execute("UPDATE event SET body = x'7b7d' WHERE sequence = 2")
        connection.execute("UPDATE event SET hash = 'none' WHERE sequence = ?", [ROWS])
    with audit.Log(f"sqlite:///{trail}") as log:
        with pytest.raises(audit.ReadError, match="row 2 of the audit trail is malformed"):
            list(log.read())
        with pytest.raises(audit.AppendError, match="last row of the audit trail has a malformed hash"):
            log.append(agent="a", action="b", subject="c", entity={})


def test_a_damaged_file_is_reported_in_one_sentence(trail: Path) -> None:
    damaged = bytearray(trail.read_bytes())
    root = (
        sqlite3.connect(trail)
        .execute("SELECT rootpage FROM sqlite_master WHERE name = 'event'")
        .fetchone()[0]
    )
    damaged[(root - 1) * 4096 : root * 4096] = b"\xee" * 4096
    trail.write_bytes(damaged)
    with pytest.raises(audit.AuditError, match="the file is damaged; restore it from a copy"):
        verify(trail)


def test_problems_are_listed_up_to_a_limit(trail: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.verification.MOST_PROBLEMS", 4)
    with tampering(trail) as connection:
        connection.execute("UPDATE event SET agent = 'other'")
    problems = verify(trail).problems
    assert [problem.kind for problem in problems] == ["altered"] * 4 + ["more"]
    assert problems[-1].message == "2 more problems are not listed"


def test_no_message_quotes_what_a_row_holds(trail: Path) -> None:
    with tampering(trail) as connection:
        connection.execute("UPDATE event SET subject = 'DOE^JANE' WHERE sequence = 2")
    assert "DOE" not in str(verify(trail).problems)
