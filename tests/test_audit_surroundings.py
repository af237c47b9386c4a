"""What stands around the rows is watched too: triggers, the other tables, bodies said to be archived."""

from pathlib import Path

import pytest
from signed_trails import Trail, signed_trail
from tampering import Intruder, alter, connected, unguarded

import audit


@pytest.fixture
def trail(trail_url: str) -> Trail:
    return signed_trail(trail_url)


@pytest.fixture
def sqlite_trail(tmp_path: Path) -> Trail:
    return signed_trail(f"sqlite:///{tmp_path}/audit.sqlite")


def forged_archive(intruder: Intruder, note: str, *, first: object = 2, last: object = 3) -> None:
    intruder.execute("INSERT INTO archive VALUES (1, ?, ?, ?, ?)", [first, last, "ab" * 32, note])
    alter(intruder, 2, body=None)
    alter(intruder, 3, body=None)


@pytest.mark.parametrize("note", ["", "none", "a\nb\n\n— a AAAAAAAA\n"])
def test_a_body_removed_for_an_archive_that_nobody_signed_is_found(trail: Trail, note: str) -> None:
    with unguarded(trail.url) as intruder:
        forged_archive(intruder, note)
    assert trail.found() == {("archive", 2, None)}
    assert trail.verify().archived == 2


def test_a_checkpoint_does_not_pass_for_an_archives_statement(trail: Trail) -> None:
    with unguarded(trail.url) as intruder:
        forged_archive(intruder, trail.notes[0])
    assert trail.found() == {("archive", 2, None)}


def test_tables_of_the_wrong_types_are_found_not_fallen_over(sqlite_trail: Trail) -> None:
    trail = sqlite_trail
    with unguarded(trail.url) as intruder:
        for table in ("checkpoint", "archive"):
            columns = ", ".join(intruder.columns(table))
            intruder.execute(f"CREATE TABLE rebuilt ({columns})")  # no types
            intruder.execute(f"INSERT INTO rebuilt SELECT * FROM {table}")  # noqa: S608
            intruder.execute(f"DROP TABLE {table}")
            intruder.execute(f"ALTER TABLE rebuilt RENAME TO {table}")
        intruder.execute("UPDATE checkpoint SET number = 'x', size = NULL, note = x'00' WHERE number = 2")
        intruder.execute("INSERT INTO archive VALUES (NULL, 'a', x'01', 7, NULL)")
        alter(intruder, 3, body=None)
    assert trail.found() == {
        ("missing", None, None),
        ("forged_checkpoint", None, None),
        ("archive", None, None),
        ("malformed", 3, "body"),
    }


@pytest.mark.parametrize("table", ["checkpoint", "archive"])
def test_a_table_that_is_gone_is_an_error_not_a_clean_bill(trail: Trail, table: str) -> None:
    with connected(trail.url) as intruder:
        intruder.execute(f"DROP TABLE {table}")
    with pytest.raises(audit.AuditError, match="cannot be used"):
        trail.verify()


def test_triggers_that_are_gone_or_altered_or_foreign_are_named(trail: Trail) -> None:
    with connected(trail.url) as intruder:
        if intruder.is_postgresql:
            intruder.execute("DROP TRIGGER event_never_updated ON event")
            intruder.execute("ALTER TABLE event DISABLE TRIGGER event_without_gaps")
            intruder.execute(
                "CREATE OR REPLACE FUNCTION event_never_deleted() RETURNS trigger LANGUAGE plpgsql "
                "AS $$ BEGIN RETURN OLD; END $$"
            )
            intruder.execute(
                "CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
            )
            intruder.execute(
                "CREATE TRIGGER mine BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION mine()"
            )
        else:
            for name in ("updated", "deleted"):
                intruder.execute(f"DROP TRIGGER event_never_{name}")
            intruder.execute("DROP TRIGGER event_without_gaps")
            intruder.execute("CREATE TRIGGER event_never_deleted BEFORE DELETE ON event BEGIN SELECT 1; END")
            intruder.execute("CREATE TRIGGER event_without_gaps BEFORE INSERT ON event BEGIN SELECT 1; END")
            intruder.execute("CREATE TRIGGER mine AFTER INSERT ON event BEGIN SELECT 1; END")
    assert trail.found() == {("guard", None, None)}
    assert trail.messages() == [
        "trigger event_never_deleted was altered: rows could be changed since",
        "trigger event_never_updated is missing: rows could be changed since",
        "trigger event_without_gaps was altered: rows could be changed since",
        "trigger mine is not part of a trail",
    ]


POSTGRESQL_EVASIONS = [
    "CREATE OR REPLACE TRIGGER event_never_updated BEFORE UPDATE OF confidence ON event "
    "FOR EACH ROW EXECUTE FUNCTION event_never_updated()",
    "CREATE OR REPLACE TRIGGER event_never_updated BEFORE UPDATE ON event "
    "FOR EACH ROW WHEN (OLD.sequence > 99) EXECUTE FUNCTION event_never_updated()",
    "CREATE OR REPLACE TRIGGER event_never_deleted BEFORE DELETE ON event "
    "FOR EACH STATEMENT EXECUTE FUNCTION event_never_deleted()",
    "ALTER TABLE event ENABLE REPLICA TRIGGER event_never_deleted",
    "ALTER TABLE checkpoint DISABLE TRIGGER ALL",
]


@pytest.mark.parametrize("statement", POSTGRESQL_EVASIONS)
def test_a_trigger_that_no_longer_fires_is_named(postgresql_url: str, statement: str) -> None:
    trail = signed_trail(postgresql_url)
    with connected(trail.url) as intruder:
        intruder.execute(statement)
        intruder.execute("ALTER TABLE event ENABLE ALWAYS TRIGGER event_never_updated")
    assert trail.found() == {("guard", None, None)}
    assert all("was altered" in message for message in trail.messages())


def test_a_rule_that_drops_rows_is_named_and_no_append_is_acknowledged(postgresql_url: str) -> None:
    trail = signed_trail(postgresql_url)
    with connected(trail.url) as intruder:
        intruder.execute("CREATE RULE swallow AS ON INSERT TO event DO INSTEAD NOTHING")
    with audit.Log(trail.url) as log, pytest.raises(audit.AppendError, match="did not keep the event"):
        log.append(audit.Entry(agent="a", action="ask", subject="s", entity={}))
    assert trail.found() == {("guard", None, None)}
    assert trail.messages() == ["rule swallow is not part of a trail"]


def test_no_append_is_acknowledged_that_a_foreign_trigger_drops(sqlite_trail: Trail) -> None:
    with connected(sqlite_trail.url) as intruder:
        intruder.execute("CREATE TRIGGER swallow BEFORE INSERT ON event BEGIN SELECT RAISE(IGNORE); END")
    with audit.Log(sqlite_trail.url) as log, pytest.raises(audit.AppendError, match="did not keep the event"):
        log.append_all([audit.Entry(agent="a", action="ask", subject="s", entity={})] * 3)
