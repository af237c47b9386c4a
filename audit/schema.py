"""The one table of a trail, and the triggers that make SQLite refuse to change it."""

import sqlalchemy as sa

GENESIS = "0" * 64
"""Stands for the hash before row 1."""

_metadata = sa.MetaData()

EVENT = sa.Table(
    "event",
    _metadata,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("recorded", sa.Text, nullable=False),
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False, index=True),
    sa.Column("subject", sa.Text, nullable=False, index=True),
    # The canonical content that is hashed. The columns above repeat it, for searching.
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("previous_hash", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
)

# Demanding the next number also shuts INSERT OR REPLACE, which deletes without firing DELETE triggers
# unless recursive_triggers is on.
TRIGGERS = {
    "event_never_updated": (
        "CREATE TRIGGER event_never_updated BEFORE UPDATE ON event "
        "BEGIN SELECT RAISE(ABORT, 'event is append-only'); END"
    ),
    "event_never_deleted": (
        "CREATE TRIGGER event_never_deleted BEFORE DELETE ON event "
        "BEGIN SELECT RAISE(ABORT, 'event is append-only'); END"
    ),
    "event_without_gaps": (
        "CREATE TRIGGER event_without_gaps BEFORE INSERT ON event "
        "WHEN NEW.sequence IS NOT (SELECT COALESCE(MAX(sequence), 0) + 1 FROM event) "
        "BEGIN SELECT RAISE(ABORT, 'event sequence must continue without gaps'); END"
    ),
    "event_chained": (
        "CREATE TRIGGER event_chained BEFORE INSERT ON event WHEN NEW.sequence > 1 "
        "AND NEW.previous_hash IS NOT (SELECT hash FROM event WHERE sequence = NEW.sequence - 1) "
        "BEGIN SELECT RAISE(ABORT, 'event must continue the hash chain'); END"
    ),
}


def create_schema(connection: sa.Connection) -> None:
    """Create the table and its triggers, within the connection's transaction."""
    _metadata.create_all(connection)
    for statement in TRIGGERS.values():
        connection.exec_driver_sql(statement)


def changed_guards(connection: sa.Connection) -> list[str]:
    """Say, one sentence each, which triggers are missing, altered or foreign."""
    rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    found = {str(name): str(statement) for name, statement in rows}
    missing = [f"trigger {name} is missing: rows could be changed since" for name in TRIGGERS.keys() - found]
    altered = [
        f"trigger {name} was altered: rows could be changed since"
        for name in TRIGGERS.keys() & found
        if found[name] != TRIGGERS[name]
    ]
    foreign = [f"trigger {name} is not part of a trail" for name in found.keys() - TRIGGERS.keys()]
    return sorted(missing + altered + foreign)
