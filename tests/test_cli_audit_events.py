"""`medvqa audit list`, `search`, `show` and `query`: what they find, and how they print it."""

import csv
import io
import json
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from audit_commands import complaint_of, entry, events, medvqa_process, ok, rows, run

import audit

pytest_plugins = ["audit_place"]
pytestmark = pytest.mark.usefixtures("trail")


def edit(path: Path, *statements: str) -> None:
    """Change the trail behind the library's back."""
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER event_never_updated")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_list_shows_the_newest_first() -> None:
    lines = ok("list").splitlines()
    assert lines[0].split()[:7] == ["#", "recorded", "(UTC)", "agent", "action", "subject", "outcome"]
    assert [line.split()[0] for line in lines[1:]] == ["6", "5", "4", "3", "2", "1"]
    assert lines[3].split()[3:] == ["dr-17", "answer", "[red]answer-2", "success", "unsure", "0.25"]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--agent", "dr-17"], [6, 4, 2, 1]),
        (["--action", "review", "--oldest"], [3, 5]),
        (["--subject", "answer-1"], [3, 2]),
        (["--study", "1.2.4"], [6, 5, 4]),
        (["--patient", "P-1"], [3, 2, 1]),
        (["--model", "b" * 64], [6, 5, 4]),
        (["--model", "aaaaaaaa"], [3, 2]),
        (["--verdict", "reject"], [5]),
        (["--outcome", "refused"], [6]),
        (["--min-confidence", "0.5"], [2]),
        (["--max-confidence", "0.5"], [4]),
        (["--disputed", "--action", "answer"], [4]),
        (["--undisputed", "--action", "answer"], [2]),
        (["--since", "1h", "--action", "answer"], [4, 2]),
        (["--until", "2024-01-01"], []),
        (["--agent", "dr-17", "--study", "1.2.3", "--verdict", "grounded"], [2]),
    ],
)
def test_list_filters(options: list[str], found: list[int]) -> None:
    assert rows("list", *options) == found


def test_times_are_utc_unless_they_name_a_zone(trail: Path) -> None:
    recorded = next(events(trail)).recorded
    before, after = recorded - timedelta(minutes=1), recorded + timedelta(minutes=1)
    everything = ["list", "--action", "answer"]
    assert rows(*everything, "--since", f"{before:%Y-%m-%dT%H:%M:%S}") == [4, 2]
    assert rows(*everything, "--since", f"{after:%Y-%m-%dT%H:%M:%S}") == []
    eastern = before + timedelta(hours=9)
    assert rows(*everything, "--until", f"{eastern:%Y-%m-%dT%H:%M:%S}+09:00") == []
    assert rows(*everything, "--until", f"{eastern:%Y-%m-%dT%H:%M:%S}") == [4, 2]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--since", "yesterday"], "'yesterday' is no time"),
        (["--until", "999999w"], "'999999w' is no time"),
        (["--model", "abc"], "at least 8 digits"),
        (["--min-confidence", "2"], "should be less than or equal to 1"),
        (["--limit", "0"], "should be greater than or equal to 1"),
    ],
)
def test_a_bad_option_is_a_usage_error(options: list[str], complaint: str) -> None:
    result = run("list", *options)
    assert result.exit_code == 2
    assert complaint in complaint_of(result)
    assert result.stdout == ""


def test_pages_follow_each_other_without_gap_or_overlap() -> None:
    result = run("list", "--limit", "4", "--json")
    assert [event["sequence"] for event in json.loads(result.stdout)] == [6, 5, 4, 3]
    assert result.stderr == "More events follow: continue with --after 3\n"
    result = run("list", "--limit", "4", "--json", "--after", "3")
    assert [event["sequence"] for event in json.loads(result.stdout)] == [2, 1]
    assert result.stderr == ""
    assert rows("list", "--oldest", "--limit", "2", "--after", "2") == [3, 4]


def test_search_reads_bodies_in_either_case_and_as_they_were_written() -> None:
    assert rows("search", 'A "MASS"') == [4]
    assert rows("search", "\x1b[31m") == [2]
    assert rows("search", "%") == []
    assert rows("search", "answer-", "--action", "review", "--oldest") == [3, 5]


def test_show_takes_a_row_or_an_answer_id() -> None:
    assert rows("show", "2") == [2]
    assert rows("show", "answer-1") == [2, 3]
    assert rows("show", "answer-1", "--action", "review") == [3]


def test_show_prints_everything_and_nothing_that_steers_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    output = ok("show", "2")
    assert '"text": "no\\u202e\\u001b[31m"' in output
    assert "\x1b" not in output
    assert "\u202e" not in output
    monkeypatch.setenv("COLUMNS", "60")
    digest = json.loads(ok("show", "2", "--json"))[0]["hash"]
    assert digest in "".join(line[12:].strip() for line in ok("show", "2").splitlines())


def test_show_of_an_unknown_event_says_where_to_look() -> None:
    for reference in ("90", "9" * 30, "answer-9", "²"):
        result = run("show", reference)
        assert str(result.exception) == f"the audit trail holds no event {reference}; see `medvqa audit list`"


def test_json_gives_every_field_of_an_event() -> None:
    shown = json.loads(ok("show", "4", "--json"))[0]
    assert shown.keys() == {*audit.Event.__dataclass_fields__, "state"}
    assert (shown["entity"], shown["state"], shown["model"]) == ({"text": 'a "mass"'}, "recorded", "b" * 64)


def test_csv_gives_every_column_and_the_entity() -> None:
    read = list(csv.DictReader(io.StringIO(ok("list", "--csv", "--oldest"), newline="")))
    assert [row["sequence"] for row in read] == ["1", "2", "3", "4", "5", "6"]
    assert json.loads(read[1]["entity"]) == {"text": "no\u202e\x1b[31m"}


def test_csv_quotes_what_a_spreadsheet_would_compute(trail: Path) -> None:
    with audit.Log(f"sqlite:///{trail}") as log:
        log.append(entry("=1+1", "login", "-2", entity={}))
    row = next(csv.DictReader(io.StringIO(ok("list", "--csv", "--limit", "1"), newline="")))
    assert (row["agent"], row["subject"]) == ("'=1+1", "'-2")


def test_rows_that_were_tampered_with_are_shown_as_such(trail: Path) -> None:
    edit(
        trail,
        "UPDATE event SET body = 'no JSON' WHERE sequence = 2",
        "UPDATE event SET agent = x'ff00', confidence = 'much', hashes = 7, body = 8 WHERE sequence = 3",
        "UPDATE event SET body = CAST(x'ff' AS text), subject = char(27) || '[31m' WHERE sequence = 4",
        "UPDATE event SET agent = 'dr-20' WHERE sequence = 5",
        "UPDATE event SET body = replace(body, 'blank', 'Blank') WHERE sequence = 6",
    )
    states = [event["state"] for event in json.loads(ok("list", "--json"))]
    assert states == ["altered", "altered", "malformed", "malformed", "malformed", "recorded"]
    shown = ok("list", "--oldest", "--limit", "6")
    assert (shown.count("malformed"), shown.count("altered")) == (3, 2)
    assert "\x1b" not in shown
    for row in ("2", "3", "4"):
        assert "malformed" in ok("show", row)
        assert "malformed" in ok("show", row, "--csv")


def test_a_body_that_left_the_table_is_listed_as_archived(trail: Path) -> None:
    edit(trail, "UPDATE event SET body = NULL WHERE sequence = 2")
    shown = json.loads(ok("show", "2", "--json"))[0]
    assert (shown["state"], shown["agent"], shown["verdict"], shown["entity"]) == (
        "archived",
        "dr-17",
        "grounded",
        None,
    )
    assert "archived" in ok("list")


def test_query_lists_its_questions_and_answers_them_in_each_form() -> None:
    listed = ok("query", "--list")
    assert "who_saw_study: Who looked at a study" in listed
    assert "    study=1.2.826.0.1.3680043.8.498.1  Study Instance UID" in listed
    found = json.loads(ok("query", "who_saw_study", "study=1.2.3", "--json"))
    assert [(row["agent"], row["action"]) for row in found] == [
        ("dr-17", "open_study"),
        ("dr-17", "answer"),
        ("dr-18", "review"),
    ]
    assert ok("query", "who_saw_study", "study=1.2.3", "--csv").startswith("agent,role,action,events,")
    assert "dr-18" in ok("query", "who_saw_study", "study=1.2.3")
    assert [row["sequence"] for row in json.loads(ok("query", "refusals", "since=1h", "--json"))] == [6]
    assert json.loads(ok("query", "refusals", "until=1h", "--json")) == []


def test_query_stops_at_the_limit_and_says_so() -> None:
    result = run("query", "patient_history", "patient=P-2", "--limit", "2", "--json")
    assert [row["sequence"] for row in json.loads(result.stdout)] == [4, 5]
    assert "More rows follow" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["who"], "'who' is not one of doubtful_answers"),
        (["refusals", "studies=1"], "'studies=1' is not NAME=VALUE; the names are since, until"),
        (["refusals", "1"], "'1' is not NAME=VALUE"),
        (["refusals", "since=then"], "'then' is no time"),
    ],
)
def test_query_refuses_what_it_does_not_know(arguments: list[str], complaint: str) -> None:
    result = run("query", *arguments)
    assert result.exit_code == 2
    assert complaint in complaint_of(result)


def test_the_audit_option_wins_over_the_environment(trail: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDVQA_AUDIT_URL", "another.sqlite")
    assert len(rows("list", "--audit", str(trail))) == 6
    assert rows("list", "--limit", "1", "--audit", f"sqlite:///{trail}") == [7]


def test_a_process_prints_one_sentence_and_nothing_else() -> None:
    result = medvqa_process("audit", "show", "answer-9")
    assert (result.returncode, result.stdout) == (7, "")
    assert result.stderr.startswith("medvqa: error: the audit trail holds no event answer-9; see ")
    assert result.stderr.count("\n") == 1
