"""Appending and reading: durable, in order, by several at once, and refused in one clear sentence."""

import hashlib
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_audit_canonical import ENTITIES

import audit

ROOT = Path(audit.__file__).parents[1]
LABELS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=12)


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.sqlite"


def note(log: audit.Log, subject: str = "answer-1", action: str = "answer") -> audit.Event:
    return log.append(agent="dr-17", action=action, subject=subject, entity={"text": "no"})


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_event_is_read_back_as_append_returned_it(path: Path) -> None:
    with audit.Log(url_of(path)) as log:
        event = log.append(agent="dr-17", action="review", subject="a", entity={"n": (1, 2.5), "ü": None})
        assert list(log.read()) == [event]
        assert log.verify().intact
    assert event.entity == {"n": [1, 2.5], "ü": None}
    assert event.sequence == 1
    assert event.previous_hash == "0" * 64
    assert abs(datetime.now(UTC) - event.recorded) < timedelta(minutes=1)
    assert event.recorded.utcoffset() == timedelta(0)


def test_the_hash_is_reproduced_with_nothing_but_sha256(path: Path) -> None:
    with audit.Log(url_of(path)) as log:
        first, second = note(log), note(log)
    bodies = sqlite3.connect(path).execute("SELECT body FROM event ORDER BY sequence").fetchall()
    assert hashlib.sha256(bytes(32) + bodies[0][0]).hexdigest() == first.hash == second.previous_hash
    assert hashlib.sha256(bytes.fromhex(first.hash) + bodies[1][0]).hexdigest() == second.hash


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(LABELS, LABELS, LABELS, ENTITIES), max_size=5))
def test_any_sequence_of_appends_verifies(events: list[tuple[str, str, str, dict]]) -> None:
    with tempfile.TemporaryDirectory() as folder, audit.Log(url_of(Path(folder, "a.sqlite"))) as log:
        for agent, action, subject, entity in events:
            log.append(agent=agent, action=action, subject=subject, entity=entity)
        result = log.verify()
        assert result.intact, result.problems
        assert result.events == len(events)
        found = [(event.agent, event.action, event.subject, event.entity) for event in log.read()]
        assert found == events


def test_read_filters_orders_and_limits(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.log.PAGE", 2)  # so that every reading below turns pages
    with audit.Log(url_of(path)) as log:
        for number in range(7):
            note(log, subject=f"s{number % 2}", action="answer" if number < 5 else "review")

        def numbers(**options: object) -> list[int]:
            return [event.sequence for event in log.read(**options)]

        assert numbers() == [1, 2, 3, 4, 5, 6, 7]
        assert numbers(newest_first=True) == [7, 6, 5, 4, 3, 2, 1]
        assert numbers(after=3) == [4, 5, 6, 7]
        assert numbers(after=3, newest_first=True, limit=3) == [7, 6, 5]
        assert numbers(limit=5) == [1, 2, 3, 4, 5]
        assert numbers(action="review") == [6, 7]
        assert numbers(subject="s0") == [1, 3, 5, 7]
        assert numbers(subject="s0", action="review") == [7]
        assert numbers(sequence=4) == [4]
        assert numbers(sequence=8) == []
        assert numbers(limit=0) == []


@pytest.mark.parametrize("label", ["", "two\nlines", "\x1b[31mred", "\ud800", "reordered\u202e"])
@pytest.mark.parametrize("name", ["agent", "action", "subject"])
def test_labels_are_one_printable_line(path: Path, name: str, label: str) -> None:
    labels = {"agent": "a", "action": "b", "subject": "c", name: label}
    with audit.Log(url_of(path)) as log:
        with pytest.raises(audit.AppendError, match=f"{name} must be one line"):
            log.append(**labels, entity={})
        assert log.verify().events == 0


def test_a_refused_entity_leaves_nothing_behind(path: Path) -> None:
    with audit.Log(url_of(path)) as log:
        with pytest.raises(audit.AppendError, match=r"entity\.x is nan"):
            log.append(agent="a", action="b", subject="c", entity={"x": float("nan")})
        assert note(log).sequence == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET agent = 'other'",
        "DELETE FROM event",
        "INSERT OR REPLACE INTO event SELECT * FROM event WHERE sequence = 1",
        "INSERT INTO event SELECT 9, recorded, agent, action, subject, body, hash, hash FROM event",
        "INSERT INTO event SELECT 2, recorded, agent, action, subject, body, previous_hash, hash FROM event",
    ],
)
def test_the_database_itself_refuses_changes_and_gaps(path: Path, statement: str) -> None:
    with audit.Log(url_of(path)) as log:
        note(log)
        with pytest.raises(sqlite3.IntegrityError):
            sqlite3.connect(path).execute(statement)
        assert log.verify().intact


def test_each_commit_is_flushed_to_the_disk(path: Path) -> None:
    with audit.Log(url_of(path)) as log, log._engine.connect() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "recursive_triggers", "busy_timeout")
        ]
    assert pragmas == ["wal", 2, 1, 30_000]


def test_an_event_outlives_a_killed_process(path: Path) -> None:
    code = (
        "import audit, os, sys; log = audit.Log(sys.argv[1]);"
        "print(log.append(agent='a', action='b', subject='c', entity={}).hash, flush=True);"
        "os.kill(os.getpid(), 9)"
    )
    process = python(code, url_of(path))
    head = process.communicate()[0].strip()
    assert process.returncode == -9
    with audit.Log(url_of(path), create=False) as log:
        assert log.verify(expected_head=head).expected_head_sequence == 1


def test_processes_create_and_append_at_once(path: Path) -> None:
    code = (
        "import audit, sys; log = audit.Log(sys.argv[1]);"
        "[log.append(agent=sys.argv[2], action='b', subject=str(n), entity={}) for n in range(6)]"
    )
    processes = [python(code, url_of(path), f"agent-{number}") for number in range(3)]
    assert [(process.communicate()[1], process.returncode) for process in processes] == [("", 0)] * 3
    with audit.Log(url_of(path), create=False) as log:
        result = log.verify()
        assert result.intact, result.problems
        assert result.events == 18
        for number in range(3):
            mine = [event.subject for event in log.read() if event.agent == f"agent-{number}"]
            assert mine == [str(n) for n in range(6)]


def test_threads_share_one_log(path: Path) -> None:
    with audit.Log(url_of(path)) as log, ThreadPoolExecutor(8) as pool:
        sequences = list(pool.map(lambda number: note(log, subject=str(number)).sequence, range(24)))
        assert sorted(sequences) == list(range(1, 25))
        assert log.verify().intact


def test_reading_goes_on_while_another_appends(path: Path) -> None:
    with audit.Log(url_of(path)) as log, audit.Log(url_of(path)) as other:
        note(log)
        events = log.read()
        next(events)
        note(other)
        assert [event.sequence for event in other.read()] == [1, 2]


def test_a_locked_trail_says_so(path: Path) -> None:
    with audit.Log(url_of(path), busy_timeout_s=0.1) as log:
        note(log)
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(audit.LockedError, match=r"audit\.sqlite is locked by another process"):
            note(log)
        assert len(list(log.read())) == 1
        holder.execute("ROLLBACK")
        assert note(log).sequence == 2


def test_a_read_only_trail_is_read_but_not_written(path: Path) -> None:
    with audit.Log(url_of(path)) as log:
        note(log)
    with audit.Log(f"sqlite:///file:{path}?mode=ro&uri=true", create=False) as log:
        assert log.verify().intact
        with pytest.raises(audit.AppendError, match=r"audit\.sqlite did not take the event: it is read-only"):
            note(log)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root writes to read-only files")
def test_a_file_without_write_permission_is_read_but_not_written(path: Path) -> None:
    with audit.Log(url_of(path)) as log:
        note(log)
    path.chmod(0o400)
    with audit.Log(url_of(path)) as log:
        assert log.verify().intact
        with pytest.raises(audit.AppendError, match="it is read-only"):
            note(log)


def test_a_missing_folder_is_created_and_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "a folder with spaces" / "ü" / "audit.sqlite"
    with audit.Log(url_of(path)) as log:
        note(log)
    assert path.is_file()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_trail_that_is_not_to_be_created_must_exist(path: Path) -> None:
    with pytest.raises(audit.OpenError, match="there is no audit trail at"):
        audit.Log(url_of(path), create=False)
    assert not path.exists()
    path.touch()
    with pytest.raises(audit.SchemaError, match="empty database"):
        audit.Log(url_of(path), create=False)


def test_a_path_that_the_system_refuses_is_an_open_error(tmp_path: Path) -> None:
    # Stands for a folder without permission, which root, who runs the tests in containers, always has.
    for create in (True, False):
        with pytest.raises(audit.OpenError, match="File name too long; name another place"):
            audit.Log(url_of(tmp_path / ("x" * 300)), create=create)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("audit.sqlite", "is not a database URL"),
        ("postgresql://host/audit", "audit trails in postgresql are not supported"),
        ("sqlite://", "in memory would not outlive"),
        ("sqlite:///:memory:", "in memory would not outlive"),
        ("sqlite:////proc/none/audit.sqlite", "cannot be created"),
        ("sqlite:////tmp", "the file cannot be opened"),
    ],
)
def test_what_is_no_file_is_refused(url: str, message: str) -> None:
    with pytest.raises(audit.OpenError, match=message):
        audit.Log(url)


def test_a_foreign_database_is_refused_and_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE event (id INTEGER, what TEXT)")
    foreign.close()
    before = path.read_bytes()
    with pytest.raises(audit.SchemaError, match=r"audit\.sqlite is a database of something else"):
        audit.Log(url_of(path))
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("not a database, but long enough to have a header\n" * 40)
    before = path.read_bytes()
    with pytest.raises(audit.SchemaError, match="the file is not an SQLite database"):
        audit.Log(url_of(path))
    assert path.read_bytes() == before


def test_importing_audit_loads_no_database_library() -> None:
    code = (
        "import audit, audit.errors, audit.types, sys; print([m for m in sys.modules if 'sqlalchemy' in m])"
    )
    assert python(code).communicate()[0].strip() == "[]"
