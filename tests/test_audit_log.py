"""The log on both databases: what is appended is read back, durable, in one order under many writers."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from test_audit_canonical import ENTITIES
from trails import entry, python, raw, url_of

import audit
from audit.merkle import leaf_hash
from audit.rows import plain_entry

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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.sqlite"


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
