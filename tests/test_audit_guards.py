"""The databases themselves refuse to change a trail, whoever asks."""

# ruff: noqa: S608 - names of tables and columns are the tests' own

from typing import Any

import pytest
import sqlalchemy as sa
from trails import entry, raw

import audit

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
