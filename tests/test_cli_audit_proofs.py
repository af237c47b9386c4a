"""`medvqa audit key`, `checkpoint`, `verify`, `prove`, `archive`, `export` and `upgrade`."""

import json
import sqlite3
import stat
from pathlib import Path

import pytest
from audit_commands import complaint_of, entry, events, medvqa_process, ok, rows, run

import audit
from audit.checkpoints import parse_checkpoint
from audit.keys import read_vkeys
from audit.proofs import check_consistency, check_inclusion

pytest_plugins = ["audit_place"]

KEYS = Path("keys/audit.key.vkeys")


@pytest.fixture
def signed(trail: Path) -> Path:
    """The small trail with a key, and a checkpoint of all eight rows: `checkpoint.txt`."""
    ok("key", "create", "--name", "example.org/audit")
    ok("checkpoint", "--out", "checkpoint.txt")
    return trail


def append(trail: Path, count: int) -> None:
    with audit.Log(f"sqlite:///{trail}") as log:
        log.append_all([entry("dr-17", "login", "dr-17", entity={})] * count)


def tamper(trail: Path, *statements: str) -> None:
    """Change the trail behind the library's back, and put the triggers back."""
    with sqlite3.connect(trail) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        for _, sql in triggers:
            connection.execute(sql)
    connection.close()


def test_a_key_is_made_for_its_owner_only_and_recorded(trail: Path) -> None:
    result = run("key", "create", "--name", "example.org/audit")
    line = result.stdout.strip()
    assert line.startswith("example.org/audit+")
    assert stat.S_IMODE(Path("keys/audit.key").stat().st_mode) == 0o600
    made = list(events(trail))[-1]
    assert (made.action, made.agent, made.entity) == ("configure", "officer", {"signing_key": line})
    assert ok("key", "show") == f"{line}\n"
    again = run("key", "create", "--name", "example.org/audit")
    assert isinstance(again.exception, audit.KeyFileError)
    assert len(list(events(trail))) == 7


def test_a_new_trail_begins_with_its_key(place: Path) -> None:
    ok("key", "create", "--name", "example.org/audit")
    assert [event.action for event in events(place / "the trail.sqlite")] == ["configure"]


def test_a_rotated_key_takes_over(signed: Path) -> None:
    old = ok("key", "show")
    new = ok("key", "rotate")
    assert ok("key", "show") == old + new
    assert next(event for event in events(signed) if event.action == "rotate_key").agent == "officer"
    ok("checkpoint", "--out", "second.txt")
    assert "intact" in ok("verify", "--checkpoint", "checkpoint.txt", "--checkpoint", "second.txt")


def test_a_checkpoint_is_recorded_kept_and_written(trail: Path, place: Path) -> None:
    ok("key", "create", "--name", "example.org/audit")
    result = run("checkpoint")
    assert result.stdout == "medvqa-audit-checkpoint-8.txt covers rows 1 to 8.\n"
    assert result.stderr.startswith("Send it to where")
    note = (place / "medvqa-audit-checkpoint-8.txt").read_text()
    assert (parse_checkpoint(note).origin, parse_checkpoint(note).size) == ("example.org/audit", 8)
    made = list(events(trail))[-1]
    assert (made.action, made.agent, made.role) == ("checkpoint", "officer", "compliance officer")
    assert note in [kept.note for kept in audit.Log(f"sqlite:///{trail}").checkpoints()]


def test_without_a_key_nothing_is_signed_or_recorded(trail: Path) -> None:
    result = run("checkpoint")
    assert isinstance(result.exception, audit.KeyFileError)
    assert "there is no key file" in str(result.exception)
    assert len(list(events(trail))) == 6


def test_a_checkpoint_is_not_written_over_another_file(signed: Path) -> None:
    before = len(list(events(signed)))
    result = run("checkpoint", "--out", "checkpoint.txt")
    assert result.exit_code == 2
    assert "there is a file checkpoint.txt already" in complaint_of(result)
    assert len(list(events(signed))) == before


def test_verify_says_what_checkpoints_cover(signed: Path) -> None:
    append(signed, 3)
    lines = ok("verify", "--checkpoint", "checkpoint.txt").splitlines()
    assert lines[0] == "intact: 11 events"
    assert lines[1].startswith("root ")
    assert lines[2] == "1 checkpoint covers rows 1 to 8; 3 rows came after"
    report = json.loads(ok("verify", "--json"))
    assert (report["intact"], report["events"], report["covered"], report["uncovered"]) == (True, 12, 8, 4)


def test_verifying_is_recorded_with_its_result(signed: Path) -> None:
    root = json.loads(ok("verify", "--json"))["root"]
    last = list(events(signed))[-1]
    assert (last.action, last.entity["command"]) == ("read_trail", "verify")
    assert last.entity["found"] == {"intact": True, "events": 8, "problems": 0, "root": root}


@pytest.mark.usefixtures("trail")
def test_verify_without_checkpoints_says_what_that_means() -> None:
    assert "no checkpoint covers a row" in ok("verify")


def test_verify_names_an_altered_row_and_fails(signed: Path) -> None:
    tamper(signed, "UPDATE event SET agent = 'other' WHERE sequence = 2")
    result = run("verify")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[:2] == [
        "row 2 has another agent than was recorded",
        "NOT intact: 8 events",
    ]
    result = run("verify", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)["problems"]
    assert [(problem["kind"], problem["sequence"], problem["field"]) for problem in found] == [
        ("altered", 2, "agent")
    ]


def test_only_a_checkpoint_kept_elsewhere_tells_that_the_end_was_cut_off(signed: Path) -> None:
    tamper(signed, "DELETE FROM event WHERE sequence > 6", "DELETE FROM checkpoint")
    assert run("verify").exit_code == 0
    tamper(signed, "DELETE FROM event WHERE sequence > 6")
    result = run("verify", "--checkpoint", "checkpoint.txt")
    assert result.exit_code == 1
    assert "the end was cut off" in result.stdout


@pytest.mark.usefixtures("signed")
def test_checkpoints_without_keys_prove_nothing_and_it_says_so(place: Path) -> None:
    moved = KEYS.rename(place / "elsewhere.vkeys")
    result = run("verify")
    assert result.exit_code == 1
    assert "No public keys are known here" in result.stderr
    assert "intact" in ok("verify", "--keys", str(moved))
    assert isinstance(run("verify", "--keys", "none.vkeys").exception, audit.KeyFileError)


@pytest.mark.usefixtures("signed")
def test_a_checkpoint_file_that_is_none_is_named(place: Path) -> None:
    assert isinstance(run("verify", "--checkpoint", "none.txt").exception, audit.ReadError)
    (place / "bad.txt").write_text("hello")
    result = run("verify", "--checkpoint", "bad.txt")
    assert result.exit_code == 1
    assert "it is not a signed note" in result.stdout
    (place / "binary.txt").write_bytes(b"\xff")
    assert isinstance(run("verify", "--checkpoint", "binary.txt").exception, audit.CheckpointError)


def test_a_trail_that_is_not_there_is_neither_created_nor_intact(place: Path) -> None:
    result = run("verify")
    assert isinstance(result.exception, audit.OpenError)
    assert list(place.iterdir()) == []


def test_verify_exits_with_its_codes(signed: Path) -> None:
    assert medvqa_process("audit", "verify", "--audit", "none.sqlite").returncode == 7
    intact = medvqa_process("audit", "verify")
    assert (intact.returncode, intact.stderr) == (0, "")
    tamper(signed, "DELETE FROM event WHERE sequence = 3")
    assert medvqa_process("audit", "verify").returncode == 1


def test_an_event_is_proved_to_a_third_party(signed: Path) -> None:
    assert ok("prove", "2", "--out", "event-2").splitlines() == ["event-2.json", "event-2.tlog-proof"]
    body, proof = Path("event-2.json").read_bytes(), Path("event-2.tlog-proof").read_text()
    assert check_inclusion(proof, body, read_vkeys(KEYS)).size == 8
    assert json.loads(body)["subject"] == "answer-1"
    last = list(events(signed))[-1]
    assert (last.entity["command"], last.entity["given"]) == ("prove", {"row": 2})
    again = run("prove", "2", "--out", "event-2")
    assert again.exit_code == 2


def test_a_later_checkpoint_is_proved_to_continue_an_older_one(signed: Path) -> None:
    append(signed, 5)
    ok("checkpoint", "--out", "second.txt")
    assert ok("prove", "--from", "checkpoint.txt", "--out", "grown") == "grown.tlog-consistency\n"
    ok("prove", "--from", "checkpoint.txt", "--to", "second.txt", "--out", "same")
    proof = Path("grown.tlog-consistency").read_text()
    assert proof == Path("same.tlog-consistency").read_text()
    old = parse_checkpoint(Path("checkpoint.txt").read_text())
    assert check_consistency(proof, old, read_vkeys(KEYS)).size == 14


def test_what_cannot_be_proved_is_refused(signed: Path) -> None:
    assert "covers rows 1 to 8, not row 9" in str(run("prove", "9", "--out", "p").exception)
    assert run("prove", "--out", "p").exit_code == 2
    assert run("prove", "2", "--from", "checkpoint.txt", "--out", "p").exit_code == 2
    tamper(signed, "UPDATE event SET body = replace(body, 'no', 'No') WHERE sequence = 2")
    assert "row 2 of the audit trail is not what was recorded" in str(
        run("prove", "2", "--out", "p").exception
    )
    assert not Path("p.json").exists()


@pytest.mark.usefixtures("trail")
def test_a_proof_needs_a_checkpoint() -> None:
    assert "run `medvqa audit checkpoint`" in str(run("prove", "2", "--out", "p").exception)


@pytest.mark.usefixtures("signed")
def test_old_bodies_move_to_an_archive_that_still_verifies() -> None:
    moved = ok("archive", "--before", "2200-01-01", "--out", "archives").splitlines()
    file = moved[0].partition(" holds")[0]
    assert moved[0].endswith("holds the bodies of rows 1 to 8.")
    assert "stand in archives that were not given" in ok("verify")
    assert "stand in archives" not in ok("verify", "--archive", file)
    shown = json.loads(ok("list", "--action", "review", "--json"))
    assert [(event["sequence"], event["state"]) for event in shown] == [(5, "archived"), (3, "archived")]
    assert "archived" in str(run("prove", "2", "--out", "p").exception)
    damaged = Path(file).read_bytes()
    Path(file).write_bytes(damaged[: len(damaged) // 2])
    result = run("verify", "--archive", file)
    assert result.exit_code == 1
    assert "is damaged" in result.stdout
    assert isinstance(run("verify", "--archive", "none.zip").exception, audit.ReadError)


@pytest.mark.usefixtures("signed")
def test_nothing_old_enough_is_an_error() -> None:
    assert "no row of that age" in str(run("archive", "--before", "2001-01-01", "--out", "a").exception)


@pytest.mark.parametrize(("form", "lines"), [("ndjson", 2), ("csv", 3), ("fhir-r4", 4), ("fhir-r5", 4)])
def test_an_export_is_recorded_with_its_digest(trail: Path, form: str, lines: int) -> None:
    printed = ok("export", "--form", form, "--out", "out.txt", "--action", "review").splitlines()
    assert printed[0] == "out.txt holds 2 events."
    text = Path("out.txt").read_text()
    assert len(text.splitlines()) == lines
    last = list(events(trail))[-1]
    assert (last.action, last.entity["given"]) == ("export", {"form": form, "action": "review"})
    assert printed[1] == f"sha256 {last.entity['found']['sha256']}"


def test_an_export_that_fails_leaves_no_file(trail: Path, place: Path) -> None:
    tamper(trail, "UPDATE event SET body = 'no JSON' WHERE sequence = 4")
    result = run("export", "--form", "ndjson", "--out", "out.txt")
    assert isinstance(result.exception, audit.ReadError)
    assert run("export", "--form", "xml", "--out", "out.txt").exit_code == 2
    assert run("export", "--form", "csv", "--out", "none/out.txt").exit_code == 2
    assert {path.name for path in place.iterdir()} == {trail.name}


@pytest.mark.usefixtures("trail")
def test_upgrading_a_trail_of_this_version_changes_nothing() -> None:
    assert ok("upgrade") == "The trail is of this version.\n"
    assert rows("list") == [6, 5, 4, 3, 2, 1]
