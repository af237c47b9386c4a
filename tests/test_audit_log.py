"""The log on both databases: appended, read and searched, in one order, guarded by the database itself."""

# ruff: noqa: S608 - names of tables and columns are the tests' own

import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from test_audit_canonical import ENTITIES

import audit
from audit.merkle import leaf_hash
from audit.rows import plain_entry

ROOT = Path(audit.__file__).parents[1]
LABELS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=12)
ENTRIES = st.builds(
    audit.Entry,
    agent=LABELS,
    action=LABELS,
    subject=LABELS,
    entity=ENTITIES,
    outcome=st.sampled_from(["success", "refused", "failed"]),
    role=st.none() | LABELS,
    patient=st.none() | LABELS,
    study=st.none() | LABELS,
    model=st.none() | LABELS,
    verdict=st.none() | LABELS,
    confidence=st.none() | st.floats(0, 1),
)
DAY = datetime(2024, 5, 1, tzinfo=UTC)


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.sqlite"


def entry(**fields: Any) -> audit.Entry:
    return audit.Entry(
        **{"agent": "dr-17", "action": "answer", "subject": "answer-1", "entity": {"text": "no"}, **fields}
    )


@contextmanager
def raw(url: str, *, settings: str = "") -> Iterator[sa.Connection]:
    """A connection as anybody with the database's password makes one, committed at the end."""
    postgresql = url.startswith("postgresql")
    engine = sa.create_engine(
        url.replace("postgresql:", "postgresql+psycopg:"),
        connect_args={"options": settings} if postgresql else {},
    )
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_event_is_read_back_as_append_returned_it(trail_url: str) -> None:
    with audit.Log(trail_url) as log:
        event = log.append(
            entry(
                entity={"n": (1, 2.5), "ü": None},
                outcome="refused",
                role="radiologist",
                patient="p-1",
                study="1.2.3",
                model="ab" * 32,
                verdict="amend",
                confidence=0.25,
            )
        )
        assert list(log.read()) == [event]
        assert log.verify().intact
    assert (event.sequence, event.entity, event.outcome) == (1, {"n": [1, 2.5], "ü": None}, "refused")
    assert (event.role, event.patient, event.study, event.model) == ("radiologist", "p-1", "1.2.3", "ab" * 32)
    assert (event.verdict, event.confidence) == ("amend", 0.25)
    assert event.source
    assert abs(datetime.now(UTC) - event.recorded) < timedelta(minutes=1)
    assert event.recorded.utcoffset() == timedelta(0)


def test_a_row_holds_the_bytes_that_its_hash_covers_and_columns_that_repeat_them(trail_url: str) -> None:
    with audit.Log(trail_url) as log:
        event = log.append(entry(study="1.2.3", confidence=0.5))
    with raw(trail_url) as connection:
        row = connection.execute(sa.text("SELECT * FROM event")).mappings().one()
    body = json.loads(row["body"])
    assert leaf_hash(row["body"].encode()).hex() == bytes(row["hashes"]).hex() == event.hash
    assert {name: value for name, value in row.items() if name not in ("body", "hashes")} == {
        name: body.get(name) for name in row if name not in ("body", "hashes")
    }


@settings(max_examples=12, deadline=None)
@given(entries=st.lists(ENTRIES, max_size=5))
def test_any_batch_of_entries_is_read_back_and_verifies(
    tmp_path_factory: pytest.TempPathFactory, entries: list[audit.Entry]
) -> None:
    with audit.Log(url_of(tmp_path_factory.mktemp("trail") / "a.sqlite")) as log:
        events = log.append_all(entries)
        assert list(log.read()) == list(events)
        assert [event.sequence for event in events] == list(range(1, len(entries) + 1))
        result = log.verify()
        assert result.intact, result.problems
        assert result.events == log.size() == len(entries)


@settings(max_examples=12, deadline=None)
@given(entries=st.lists(ENTRIES, max_size=5))
def test_postgresql_keeps_any_text(any_text_url: str, entries: list[audit.Entry]) -> None:
    with audit.Log(any_text_url) as log:
        events = log.append_all(entries)
        first = events[0].sequence - 1 if events else log.size()
        assert list(log.read(after=first)) == list(events)
        assert log.verify().intact


@pytest.fixture(scope="module")
def any_text_url(postgresql_server: Any) -> Iterator[str]:
    with postgresql_server.database("any_text") as url:
        yield url


def test_both_databases_hold_the_same_bytes(path: Path, postgresql_url: str) -> None:
    bodies = []
    for url in (url_of(path), postgresql_url):
        with audit.Log(url) as log:
            log.append(entry(entity={"é": [1e20, 0.1, "\u2028", True]}, confidence=1))
        with raw(url) as connection:
            body = json.loads(connection.scalar(sa.text("SELECT body FROM event")))
            bodies.append({**body, "recorded": None})
    assert bodies[0] == bodies[1]


FILTERED = [
    entry(action="question", subject="s1", patient="p1", study="1.2", agent="dr-1", role="r"),
    entry(action="answer", subject="s1", patient="p1", study="1.2", model="abcdef012345", confidence=0.9),
    entry(action="review", subject="s1", verdict="amend", agent="dr-2"),
    entry(action="answer", subject="s2", patient="p2", study="1.3", model="abcdef999999", confidence=0.4),
    entry(action="review", subject="s2", verdict="agree", agent="dr-2", entity={"note": "50% of_it \\ Ü"}),
    entry(action="answer", subject="s3", outcome="refused", entity={"reason": "Too Small"}),
]


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"sequence": 4}, [4]),
        ({"sequence": 9}, []),
        ({"agent": "dr-2"}, [3, 5]),
        ({"action": "answer"}, [2, 4, 6]),
        ({"subject": "s1"}, [1, 2, 3]),
        ({"outcome": "refused"}, [6]),
        ({"patient": "p1"}, [1, 2]),
        ({"study": "1.3"}, [4]),
        ({"model": "abcdef012345"}, [2]),
        ({"verdict": "agree"}, [5]),
        ({"since": DAY + timedelta(hours=3)}, [4, 5, 6]),
        ({"since": (DAY + timedelta(hours=3)).replace(tzinfo=None)}, [4, 5, 6]),
        ({"until": DAY + timedelta(hours=3)}, [1, 2, 3]),
        ({"since": DAY + timedelta(hours=1), "until": DAY + timedelta(hours=2)}, [2]),
        ({"least_confidence": 0.9}, [2]),
        ({"most_confidence": 0.4}, [4]),
        ({"least_confidence": 0.1, "most_confidence": 1.0}, [2, 4]),
        ({"disputed": True}, [1, 2, 3]),
        ({"disputed": False}, [4, 5, 6]),
        ({"disputed": True, "action": "answer"}, [2]),
        ({"text": "too small"}, [6]),
        ({"text": "50% of_"}, [5]),
        ({"text": "5_%"}, []),
    ],
)
def test_each_filter_finds_its_rows(filtered: audit.Log, fields: dict[str, Any], rows: list[int]) -> None:
    found = [event.sequence for event in filtered.read(audit.Filter(**fields))]
    assert found == rows
    backwards = [event.sequence for event in filtered.read(audit.Filter(**fields), newest_first=True)]
    assert backwards == rows[::-1]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filtered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[audit.Log]:
    """Six events, an hour apart from DAY on."""
    url = url_of(tmp_path_factory.mktemp("filtered") / "audit.sqlite")
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql_server")
        with server.database("filtered") as url:
            yield from hourly(url)
    else:
        yield from hourly(url)


def hourly(url: str) -> Iterator[audit.Log]:
    with audit.Log(url) as log, pytest.MonkeyPatch.context() as patch:
        for hours, one in enumerate(FILTERED):
            patch.setattr("audit.appending.datetime", clock_at(DAY + timedelta(hours=hours)))
            log.append(one)
        yield log


def clock_at(moment: datetime) -> type[datetime]:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return moment.astimezone(tz)

    return Clock


def test_a_page_goes_on_after_the_last_row_of_the_one_before(
    trail_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.log.PAGE", 2)  # so that every reading below turns pages
    with audit.Log(trail_url) as log:
        log.append_all([entry(subject=f"s{number % 2}") for number in range(7)])

        def numbers(matching: audit.Filter = audit.Filter(), **options: Any) -> list[int]:  # noqa: B008
            return [event.sequence for event in log.read(matching, **options)]

        assert numbers() == [1, 2, 3, 4, 5, 6, 7]
        assert numbers(newest_first=True) == [7, 6, 5, 4, 3, 2, 1]
        assert numbers(after=3) == [4, 5, 6, 7]
        assert numbers(after=3, newest_first=True) == [2, 1]
        assert numbers(limit=5) == [1, 2, 3, 4, 5]
        assert numbers(after=6, newest_first=True, limit=3) == [5, 4, 3]
        assert numbers(audit.Filter(subject="s0"), after=1, limit=2) == [3, 5]
        assert numbers(limit=0) == []


@pytest.mark.parametrize("label", ["", "two\nlines", "\x1b[31mred", "\ud800", "reordered\u202e", "nul\0", 7])
@pytest.mark.parametrize(
    "name", ["agent", "action", "subject", "role", "patient", "study", "model", "verdict"]
)
def test_labels_are_one_printable_line(empty: audit.Log, name: str, label: Any) -> None:
    with pytest.raises(audit.AppendError, match=f"{name} must be one line of printable text"):
        empty.append(entry(**{name: label}))


@pytest.mark.parametrize("confidence", [-0.01, 1.01, float("nan")])
def test_a_confidence_lies_between_0_and_1(empty: audit.Log, confidence: float) -> None:
    with pytest.raises(audit.AppendError, match="confidence must lie between 0 and 1"):
        empty.append(entry(confidence=confidence))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[audit.Log]:
    with audit.Log(url_of(tmp_path_factory.mktemp("empty") / "audit.sqlite")) as log:
        yield log
        assert log.size() == 0


def test_a_batch_with_one_entry_that_is_refused_leaves_nothing_behind(trail_url: str) -> None:
    with audit.Log(trail_url) as log:
        with pytest.raises(audit.AppendError, match=r"entity\.x is nan"):
            log.append_all([entry(), entry(entity={"x": float("nan")})])
        assert log.append_all([]) == ()
        assert log.append(entry()).sequence == 1


def test_an_exception_within_a_transaction_undoes_it_and_the_tree_goes_on(trail_url: str) -> None:
    with audit.Log(trail_url) as log:
        log.append(entry())
        with pytest.raises(KeyboardInterrupt), log.writing() as connection:
            log.extend(connection, [plain_entry(entry())])
            raise KeyboardInterrupt
        assert log.append(entry()).sequence == 2
        assert log.verify().intact


SAME = "recorded, agent, action, subject, outcome, source, role, patient, study, model, verdict, confidence"


EITHER = (
    "UPDATE event SET agent = 'other'",
    "UPDATE event SET body = NULL",
    "UPDATE checkpoint SET size = 2",
    "UPDATE archive SET last = 2",
    "DELETE FROM event",
    "DELETE FROM checkpoint",
    "DELETE FROM archive",
    f"INSERT INTO event SELECT 9, {SAME}, body, hashes FROM event",
    f"INSERT INTO event SELECT 0, {SAME}, body, hashes FROM event",
    "INSERT INTO checkpoint VALUES (3, 1, 'x')",
    "INSERT INTO archive VALUES (1, 1, 1, 'x', 'y')",
    "INSERT INTO event SELECT * FROM event WHERE true ON CONFLICT (sequence) DO UPDATE SET agent = 'x'",
)
SQLITE = (
    "INSERT OR REPLACE INTO event SELECT * FROM event WHERE sequence = 1",
    "REPLACE INTO checkpoint SELECT * FROM checkpoint",
    "UPDATE OR REPLACE event SET sequence = 1",
)
POSTGRESQL = ("TRUNCATE event", "TRUNCATE checkpoint, archive")
REPLICA = "-c session_replication_role=replica"
"""Makes PostgreSQL pass over ordinary triggers."""


@pytest.mark.parametrize(
    ("trail_url", "settings", "statement"),
    [
        *(("sqlite", "", statement) for statement in EITHER + SQLITE),
        *(("postgresql", settings, each) for settings in ("", REPLICA) for each in EITHER + POSTGRESQL),
    ],
    indirect=["trail_url"],
)
def test_the_database_itself_refuses_changes_and_gaps(trail_url: str, settings: str, statement: str) -> None:
    with audit.Log(trail_url) as log:
        log.append(entry())
        with raw(trail_url) as connection:
            connection.execute(sa.text("INSERT INTO checkpoint VALUES (1, 1, 'x')"))
            connection.execute(sa.text("INSERT INTO archive VALUES (1, 9, 9, 'x', 'y')"))
        before = held(trail_url)
        with (
            pytest.raises(sa.exc.DBAPIError, match=r"is append-only|must continue without gaps"),
            raw(trail_url, settings=settings) as connection,
        ):
            connection.execute(sa.text(statement))
        assert held(trail_url) == before


def held(url: str) -> list[list[Any]]:
    """Everything that the three tables hold."""
    with raw(url) as connection:
        return [
            list(connection.execute(sa.text(f"SELECT * FROM {table}")))
            for table in ("event", "checkpoint", "archive")
        ]


def test_a_body_leaves_the_table_only_once_an_archive_accounts_for_it(trail_url: str) -> None:
    with audit.Log(trail_url) as log:
        log.append_all([entry(), entry(), entry()])

        def attempt(statement: str) -> None:
            with raw(trail_url) as connection:
                connection.execute(sa.text(statement))

        attempt("INSERT INTO archive VALUES (1, 2, 2, 'x', 'y')")
        for statement in (
            "UPDATE event SET body = NULL WHERE sequence = 1",
            "UPDATE event SET body = NULL WHERE sequence = 3",
            "UPDATE event SET body = '{}' WHERE sequence = 2",
            "UPDATE event SET body = NULL, agent = 'other' WHERE sequence = 2",
            "UPDATE event SET body = NULL, confidence = 1 WHERE sequence = 2",
            "UPDATE event SET body = NULL, sequence = 7 WHERE sequence = 2",
        ):
            with pytest.raises(sa.exc.DBAPIError, match="event is append-only"):
                attempt(statement)
        attempt("UPDATE event SET body = NULL WHERE sequence = 2")
        with pytest.raises(sa.exc.DBAPIError, match="event is append-only"):
            attempt("UPDATE event SET body = '{}' WHERE sequence = 2")
        with pytest.raises(audit.ReadError, match="row 2 of the audit trail is archived"):
            list(log.read())
        assert log.append(entry()).sequence == 4


def test_processes_create_and_append_at_once(trail_url: str) -> None:
    code = (
        "import audit, sys; log = audit.Log(sys.argv[1])\n"
        "for n in range(6):\n"
        "    log.append(audit.Entry(agent=sys.argv[2], action='b', subject=str(n), entity={}))"
    )
    processes = [python(code, trail_url, f"agent-{number}") for number in range(3)]
    assert [(process.communicate()[1], process.returncode) for process in processes] == [("", 0)] * 3
    with audit.Log(trail_url, create=False) as log:
        result = log.verify()
        assert result.intact, result.problems
        assert result.events == 18
        for number in range(3):
            mine = [event.subject for event in log.read(audit.Filter(agent=f"agent-{number}"))]
            assert mine == [str(n) for n in range(6)]


def test_threads_of_two_logs_write_in_one_order(trail_url: str) -> None:
    with audit.Log(trail_url) as log, audit.Log(trail_url) as other, ThreadPoolExecutor(8) as pool:
        logs = [log, other] * 12
        events = list(pool.map(lambda one: one.append_all([entry(), entry()]), logs))
        assert sorted(event.sequence for pair in events for event in pair) == list(range(1, 49))
        assert all(second.sequence == first.sequence + 1 for first, second in events)
        recorded = [event.recorded for event in log.read()]
        assert recorded == sorted(recorded)
        assert log.verify().intact


def test_reading_goes_on_while_another_appends(trail_url: str) -> None:
    with audit.Log(trail_url) as log, audit.Log(trail_url) as other:
        log.append(entry())
        with log.snapshot() as connection:
            query = sa.text("SELECT count(*) FROM event")
            assert connection.scalar(query) == 1
            other.append(entry())
            assert connection.scalar(query) == 1
        assert log.size() == 2


def test_each_commit_of_sqlite_is_flushed_to_the_disk(path: Path) -> None:
    with audit.Log(url_of(path)) as log, log.reading() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "recursive_triggers", "busy_timeout")
        ]
    assert pragmas == ["wal", 2, 1, 30_000]


def test_each_commit_of_postgresql_waits_whatever_the_database_says(postgresql_url: str) -> None:
    with raw(postgresql_url) as connection:
        name = connection.scalar(sa.text("SELECT current_database()"))
        connection.execute(sa.text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
        connection.execute(
            sa.text(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
        )
    with audit.Log(postgresql_url) as log, audit.Log(postgresql_url) as other:
        with log.reading() as connection:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
        with ThreadPoolExecutor(2) as pool:  # each must see the other's last row
            list(pool.map(lambda one: one.append(entry()), [log, other] * 10))
        assert log.verify().events == 20


def test_a_read_only_trail_is_read_but_not_written(path: Path) -> None:
    with audit.Log(url_of(path)) as log:
        log.append(entry())
    with audit.Log(f"sqlite:///file:{path}?mode=ro&uri=true", create=False) as log:
        assert log.verify().intact
        with pytest.raises(audit.AppendError, match=r"audit\.sqlite did not take the event: it is read-only"):
            log.append(entry())


def test_a_missing_folder_is_created_and_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "a folder with spaces" / "ü" / "audit.sqlite"
    with audit.Log(url_of(path)) as log:
        log.append(entry())
        modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert modes == {0o600}
        assert len(list(path.parent.iterdir())) > 1  # the WAL is as private as the trail


def test_a_trail_that_is_not_to_be_created_must_exist(path: Path) -> None:
    with pytest.raises(audit.OpenError, match="there is no audit trail at"):
        audit.Log(url_of(path), create=False)
    assert not path.exists()


def test_an_empty_database_is_no_trail(trail_url: str, tmp_path: Path) -> None:
    (tmp_path / "audit.sqlite").touch()
    with pytest.raises(audit.SchemaError, match="is an empty database, not an audit trail"):
        audit.Log(trail_url, create=False)


def test_a_path_that_the_system_refuses_is_an_open_error(tmp_path: Path) -> None:
    # Stands for a folder without permission, which root, who runs the tests in containers, always has.
    for create in (True, False):
        with pytest.raises(audit.OpenError, match="File name too long; name another place"):
            audit.Log(url_of(tmp_path / ("x" * 300)), create=create)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("audit.sqlite", "is not a database URL"),
        ("mysql://host/audit", "audit trails in mysql are not supported"),
        ("sqlite://", "in memory would not outlive"),
        ("sqlite:///:memory:", "in memory would not outlive"),
        ("sqlite:////proc/none/audit.sqlite", "cannot be created"),
        ("sqlite:////tmp", "the file or its folder cannot be opened"),
        ("postgresql://medvqa:secret@127.0.0.1:1/audit", r"medvqa:\*\*\*@.*the server does not answer"),
    ],
)
def test_what_is_no_trail_is_refused(url: str, message: str) -> None:
    with pytest.raises(audit.OpenError, match=message):
        audit.Log(url)


def test_a_database_that_does_not_exist_is_named(postgresql_url: str) -> None:
    with pytest.raises(audit.OpenError, match=r"refuses the connection \(database .* does not exist\)"):
        audit.Log(f"{postgresql_url}_absent")


def test_a_database_that_cannot_hold_every_text_is_refused(postgresql_server: Any) -> None:
    postgresql_server.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(audit.OpenError, match="the database is not in UTF-8"):
        audit.Log(postgresql_server.url("latin"))
    postgresql_server.execute("DROP DATABASE latin WITH (FORCE)")


@pytest.mark.parametrize("table", ["event", "patient"])
def test_a_foreign_database_is_refused_and_left_alone(trail_url: str, table: str) -> None:
    with raw(trail_url) as connection:
        connection.execute(sa.text(f"CREATE TABLE {table} (id INTEGER, body TEXT)"))
    with pytest.raises(audit.SchemaError, match="is a database of something else than an audit trail"):
        audit.Log(trail_url)
    with raw(trail_url) as connection:
        assert sa.inspect(connection).get_table_names() == [table]


def test_a_trail_of_a_later_version_is_refused(trail_url: str) -> None:
    audit.Log(trail_url).close()
    with raw(trail_url) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(audit.SchemaError, match=r"of another version; run `medvqa audit upgrade`"):
        audit.Log(trail_url)


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("not a database, but long enough to have a header\n" * 40)
    before = path.read_bytes()
    with pytest.raises(audit.SchemaError, match="the file is not an SQLite database"):
        audit.Log(url_of(path))
    assert path.read_bytes() == before


def test_a_trail_without_its_write_ahead_log_is_whole_once_closed(path: Path) -> None:
    with audit.Log(url_of(path)) as log:
        log.append(entry())
    assert list(path.parent.iterdir()) == [path]
    assert sqlite3.connect(path).execute("SELECT count(*) FROM event").fetchone() == (1,)


def test_importing_audit_loads_no_database_library() -> None:
    code = (
        "import audit, audit.errors, audit.types, sys; print([m for m in sys.modules if 'sqlalchemy' in m])"
    )
    assert python(code).communicate()[0].strip() == "[]"
