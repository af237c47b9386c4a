"""Whoever reads the trail is recorded in it before anything is shown, or nothing is shown."""

import sqlite3
from pathlib import Path

import pytest
from audit_commands import events, ok, rows, run

import audit
from medvqa.errors import RecordError

pytest_plugins = ["audit_place"]
pytestmark = pytest.mark.usefixtures("trail")


def test_reading_is_recorded_with_what_was_looked_for(trail: Path) -> None:
    ok("list", "--study", "1.2.4", "--patient", "P-2", "--limit", "2")
    ok("search", "mass")
    ok("show", "answer-1")
    ok("query", "patient_history", "patient=P-1")
    reads = list(events(trail))[6:]
    assert {(read.agent, read.role, read.action) for read in reads} == {
        ("officer", "compliance officer", "read_trail")
    }
    assert [read.entity["command"] for read in reads] == ["list", "search", "show", "query"]
    assert (reads[0].study, reads[0].patient) == ("1.2.4", "P-2")
    given = reads[0].entity["given"]
    assert given == {"study": "1.2.4", "patient": "P-2", "limit": 2, "after": None, "newest": True}
    assert reads[0].entity["found"] == {"events": 2}
    assert reads[1].entity["given"]["text"] == "mass"
    assert reads[2].entity["given"] == {"reference": "answer-1"}
    assert (reads[3].patient, reads[3].entity["found"]) == ("P-1", {"rows": 3})


def test_looking_for_what_is_not_there_is_recorded(trail: Path) -> None:
    run("show", "answer-9")
    last = list(events(trail))[-1]
    assert (last.entity["given"], last.entity["found"]) == ({"reference": "answer-9"}, {"events": 0})


def test_a_read_only_trail_is_read_with_a_word_about_it(trail: Path) -> None:
    before = trail.read_bytes()
    result = run("list", "--audit", f"sqlite:///file:{trail}?mode=ro&uri=true")
    assert result.exit_code == 0
    assert result.stderr == "The trail is open for reading only: that you read it was not recorded.\n"
    assert len(result.stdout.splitlines()) == 7
    assert trail.read_bytes() == before


READING = [
    ["list"],
    ["search", "mass"],
    ["show", "2"],
    ["query", "refusals"],
    ["prove", "2", "--out", "proof"],
    ["export", "--form", "csv", "--out", "events.csv"],
]


@pytest.mark.parametrize("arguments", READING, ids=lambda arguments: arguments[0])
def test_nothing_is_shown_that_could_not_be_recorded(trail: Path, place: Path, arguments: list[str]) -> None:
    ok("key", "create", "--name", "example.org/audit")
    ok("checkpoint")
    refuse_events(trail)
    files = {path.name for path in place.iterdir()}
    result = run(*arguments)
    assert isinstance(result.exception, RecordError)
    assert "nothing is shown because" in str(result.exception)
    assert result.stdout == ""
    assert {path.name for path in place.iterdir()} - {f"{trail.name}-wal", f"{trail.name}-shm"} == files


def test_what_verification_finds_is_shown_even_if_the_trail_takes_no_event(trail: Path) -> None:
    refuse_events(trail)
    result = run("verify")
    assert result.exit_code == 1
    assert "trigger event_refused is not part of a trail" in result.stdout
    assert "This verification was not recorded" in result.stderr


def refuse_events(trail: Path) -> None:
    with sqlite3.connect(trail) as connection:
        connection.execute(
            "CREATE TRIGGER event_refused BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    connection.close()


def test_a_locked_trail_shows_nothing_and_works_again(trail: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(audit.Log.__init__.__kwdefaults__, "busy_timeout_s", 0.1)
    holder = sqlite3.connect(trail, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    result = run("list")
    assert isinstance(result.exception, RecordError)
    assert "locked by another process" in str(result.exception)
    assert result.stdout == ""
    holder.close()
    assert rows("list") == [6, 5, 4, 3, 2, 1]
