"""The ten questions: right on a small trail, on both databases, in `sqlite3` and `psql`, and by indexes."""

import csv
import io
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import audit
from audit.queries import answer, questions

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from audit_queries import Clock, build

STUDY, PATIENT = "1.2.826.0.1.3680043.8.498.1", "P-00000000000000000000000001"  # as in the files
OTHER, STRANGER = "1.2.3", "P-2"
FIRST, SECOND = "a" * 64, "b" * 64
ONE = {"study": STUDY, "patient": PATIENT, "model": FIRST}
TWO = {"study": OTHER, "patient": STRANGER, "model": SECOND}
OPENED = {"study": STUDY, "patient": PATIENT}

EVENTS: list[tuple[str, str, str, str, dict[str, Any]]] = [
    ("2024-01-01T08:00", "dr-1", "open_study", STUDY, OPENED),  # a Monday
    ("2024-01-01T08:01", "dr-1", "ask", "a1", ONE),
    ("2024-01-01T08:02", "dr-1", "answer", "a1", {**ONE, "verdict": "grounded", "confidence": 0.9}),
    ("2024-01-01T08:03", "dr-2", "review", "a1", {**ONE, "verdict": "agree"}),
    ("2024-01-01T23:30", "dr-3", "open_study", STUDY, OPENED),
    ("2024-01-06T10:00", "dr-1", "answer", "a2", {**TWO, "verdict": "image_blind", "confidence": 0.8}),
    ("2024-01-06T10:01", "dr-2", "review", "a2", {**TWO, "verdict": "agree"}),
    ("2024-01-08T09:00", "dr-1", "answer", "a3", {**TWO, "verdict": "unsure", "confidence": 0.25}),
    ("2024-01-08T09:01", "dr-1", "answer", "a4", {**ONE, "verdict": "grounded", "confidence": 0.75}),
    ("2024-01-08T09:02", "dr-2", "review", "a4", {**ONE, "verdict": "agree"}),
    ("2024-01-08T09:03", "dr-4", "review", "a4", {**ONE, "verdict": "reject"}),
    (
        "2024-01-08T09:04",
        "dr-1",
        "refuse",
        "a5",
        {**TWO, "outcome": "refused", "entity": {"reason": "blank"}},
    ),
    ("2024-01-08T09:05", "dr-1", "answer", "a6", {**TWO, "outcome": "failed"}),
    ("2024-01-08T09:06", "dr-4", "sign", "a4", {**ONE, "entity": {"meaning": "responsibility"}}),
    ("2024-01-08T09:07", "officer", "read_trail", "trail", {"study": STUDY}),
    ("2024-01-08T09:08", "officer", "configure", "trail", {}),
    ("2024-01-08T09:09", "dr-1", "answer", "a7", {**TWO, "verdict": "image_blind", "confidence": 0.5}),
    ("2024-01-08T09:10", "dr-2", "review", "a7", {**TWO, "verdict": "amend"}),
]

EXPECTED: dict[str, tuple[tuple[str, ...], list[tuple[Any, ...]]]] = {
    "who_saw_study": (
        ("agent", "role", "action", "events", "first_recorded"),
        [
            ("dr-1", "radiologist", "open_study", 1, "2024-01-01T08:00:00.000000+00:00"),
            ("dr-1", "radiologist", "ask", 1, "2024-01-01T08:01:00.000000+00:00"),
            ("dr-1", "radiologist", "answer", 2, "2024-01-01T08:02:00.000000+00:00"),
            ("dr-2", "radiologist", "review", 2, "2024-01-01T08:03:00.000000+00:00"),
            ("dr-3", "radiologist", "open_study", 1, "2024-01-01T23:30:00.000000+00:00"),
            ("dr-4", "radiologist", "review", 1, "2024-01-08T09:03:00.000000+00:00"),
            ("dr-4", "radiologist", "sign", 1, "2024-01-08T09:06:00.000000+00:00"),
            ("officer", "radiologist", "read_trail", 1, "2024-01-08T09:07:00.000000+00:00"),
        ],
    ),
    "patient_history": (("sequence",), [(1,), (2,), (3,), (4,), (5,), (9,), (10,), (11,), (14,)]),
    "work_outside_hours": (
        ("day", "agent", "events", "first_time", "last_time", "first_row"),
        [
            ("2024-01-01", "dr-3", 1, "23:30", "23:30", 5),
            ("2024-01-06", "dr-1", 1, "10:00", "10:00", 6),
            ("2024-01-06", "dr-2", 1, "10:01", "10:01", 7),
        ],
    ),
    "overruled_answers": (
        ("model", "reviewed", "agreed", "amended", "rejected", "percent_overruled"),
        [(FIRST, 2, 1, 0, 1, 50.0), (SECOND, 2, 1, 1, 0, 50.0)],
    ),
    "unreviewed_answers": (("sequence", "subject"), [(8, "a3")]),
    "doubtful_answers": (("sequence", "subject", "agreed_by"), [(6, "a2", "dr-2"), (8, "a3", None)]),
    "refusals": (
        ("day", "on_that_day", "sequence", "outcome", "action"),
        [("2024-01-08", 2, 12, "refused", "refuse"), ("2024-01-08", 2, 13, "failed", "answer")],
    ),
    "models_in_use": (
        ("model", "answers", "people", "first_row", "last_row"),
        [(FIRST, 2, 1, 3, 9), (SECOND, 3, 1, 6, 17)],
    ),
    "signatures": (
        ("sequence", "agent", "subject", "review_row", "reviewer", "review_verdict"),
        [(14, "dr-4", "a4", 11, "dr-4", "reject")],
    ),
    "trail_access": (("sequence", "action"), [(15, "read_trail"), (16, "configure")]),
}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    monkeypatch.setattr("audit.appending.datetime", Clock)
    return Clock


@pytest.fixture
def log(trail_url: str, clock: type[Clock]) -> Iterator[audit.Log]:
    with audit.Log(trail_url) as log:
        for moment, agent, action, subject, fields in EVENTS:
            clock.moment = datetime.fromisoformat(moment).replace(tzinfo=UTC)
            entry = {"entity": {}, "role": "radiologist", **fields}
            log.append(audit.Entry(agent=agent, action=action, subject=subject, **entry))
        yield log


def test_there_are_ten_questions_and_each_says_what_it_asks_for() -> None:
    assert questions().keys() == EXPECTED.keys()
    for question in questions().values():
        assert question.title.endswith((".", "?"))
        assert question.explained.keys() == question.values.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_question_is_answered(log: audit.Log, name: str) -> None:
    found = answer(log, questions()[name])
    columns, expected = EXPECTED[name]
    places = [found.columns.index(column) for column in columns]
    assert [tuple(row[place] for place in places) for row in found.rows] == expected


@pytest.mark.parametrize("name", EXPECTED)
def test_plain_programs_run_the_file_as_it_is(log: audit.Log, trail_url: str, name: str) -> None:
    found = answer(log, questions()[name])
    printed = list(csv.reader(io.StringIO(run_plainly(trail_url, name), newline="")))
    assert printed[0] == list(found.columns)
    assert printed[1:] == [["" if value is None else str(value) for value in row] for row in found.rows]


def run_plainly(url: str, name: str) -> str:
    script = str(files("audit.queries") / f"{name}.sql")
    if url.startswith("sqlite"):
        command = ["sqlite3", "-csv", "-header", url.removeprefix("sqlite:///"), f".read '{script}'"]
    else:
        command = ["psql", "--csv", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--file", script, url]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed; .ci/run installs it")
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_values_are_bound_and_never_read_as_sql(log: audit.Log) -> None:
    history = questions()["patient_history"]
    assert [row[0] for row in answer(log, history, {"patient": STRANGER}).rows] == [6, 7, 8, 12, 13, 17, 18]
    assert answer(log, history, {"patient": "x' OR '1' = '1"}).rows == ()
    assert len(answer(log, history, {"patient": PATIENT}, limit=2).rows) == 2
    later = {"since": "2024-01-07"}
    assert [row[0] for row in answer(log, questions()["models_in_use"], later).rows] == [SECOND, FIRST]
    least = {"least": "0.2"}
    assert [row[0] for row in answer(log, questions()["doubtful_answers"], least).rows] == [6]


def test_weekends_are_found_in_leap_years_and_centuries(trail_url: str, clock: type[Clock]) -> None:
    start = datetime(1999, 12, 20, 12, tzinfo=UTC)
    chance = random.Random(3)
    days = [start + timedelta(days=day) for day in sorted({*range(80), *chance.sample(range(9600), 120)})]
    with audit.Log(trail_url) as log:
        for moment in days:
            clock.moment = moment
            log.append(audit.Entry(agent="dr-1", action="login", subject="dr-1", entity={}))
        found = answer(log, questions()["work_outside_hours"], {"since": "1999-01-01"})
    assert [row[0] for row in found.rows] == [f"{day:%Y-%m-%d}" for day in days if day.weekday() >= 5]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def large_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A trail of 20,000 events on each database, whose planner has looked at it."""
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path_factory.mktemp('large') / 'audit.sqlite'}"
        if request.param == "postgresql":
            server = request.getfixturevalue("postgresql_server")
            url = stack.enter_context(server.database("large_trail"))
        build(url, 20_000)
        with audit.Log(url) as log, log.writing() as connection:
            connection.exec_driver_sql("ANALYZE")
        yield url


@pytest.fixture
def large(large_url: str) -> Iterator[audit.Log]:
    with audit.Log(large_url, create=False) as log:
        yield log


def plans_of(log: audit.Log, work: Any) -> str:
    """The plans of all queries that `work` makes."""
    plans: list[str] = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "WITH")):
            verb = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
            cursor.execute(verb + statement, parameters)
            plans.extend(str(row) for row in cursor.fetchall())

    with log.reading() as connection:
        engine = connection.engine
    sa.event.listen(engine, "before_cursor_execute", explain)
    try:
        work()
    finally:
        sa.event.remove(engine, "before_cursor_execute", explain)
    return "\n".join(plans)


SELECTIVE = {
    "agent": "dr-17",
    "action": "login",
    "subject": "answer-500-1",
    "outcome": "refused",
    "patient": f"P-{77:026d}",
    "study": "1.2.826.0.1.3680043.8.498.77.1",
    "verdict": "reject",
    "model": "f" * 64,
}


@pytest.mark.slow
@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("name", SELECTIVE)
def test_a_filter_is_answered_by_its_index(large: audit.Log, name: str, newest_first: bool) -> None:
    matching = audit.Filter(**{name: SELECTIVE[name]})
    plan = plans_of(large, lambda: list(large.read_rows(matching, limit=20, newest_first=newest_first)))
    assert f"event_by_{name}" in plan, plan


HOUR = {"since": datetime(2024, 1, 8, 8, tzinfo=UTC), "until": datetime(2024, 1, 8, 9, tzinfo=UTC)}


@pytest.mark.parametrize(
    ("matching", "index"),
    [
        (audit.Filter(sequence=500), "event_pkey|INTEGER PRIMARY KEY"),
        (audit.Filter(model="ffffffff"), "event_by_model"),
        (audit.Filter(**HOUR), "event_by_recorded"),
        (audit.Filter(least_confidence=0.1, most_confidence=0.15), "event_by_confidence"),
        (audit.Filter(disputed=True), "event_by_subject"),
    ],
)
def test_a_range_is_answered_by_its_index(large: audit.Log, matching: audit.Filter, index: str) -> None:
    plan = plans_of(large, lambda: list(large.read_rows(matching, limit=20)))
    assert re.search(index, plan), plan


@pytest.mark.parametrize("name", EXPECTED)
def test_a_question_about_a_day_reads_no_table_whole(large: audit.Log, name: str) -> None:
    question = questions()[name]
    day = {"since": "2024-01-13", "until": "2024-01-14"}
    values = {name: value for name, value in day.items() if name in question.values}
    plan = plans_of(large, lambda: answer(large, question, values))
    assert "event_by_" in plan
    assert not re.search(r"SCAN (event|answer|review|signature)(?! USING)|Seq Scan on event", plan), plan
