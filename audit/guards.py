"""Triggers that make the database itself refuse to change a trail, and what is wrong with those found.

They stop mistakes and ordinary users. Whoever owns the database can drop them: that is why `verify` looks
for them, and why checkpoints leave the machine.
"""

from typing import NamedTuple

import sqlalchemy as sa

from audit.schema import EVENT, metadata

_NUMBERED = {table.name: next(iter(table.primary_key)).name for table in metadata.sorted_tables}
_KEPT = [column.name for column in EVENT.columns if column.name != "body"]

# The one change that is allowed: a body leaves the table once an archive accounts for it.
_SQLITE_ARCHIVING = (
    "NEW.body IS NULL AND OLD.body IS NOT NULL AND "
    "EXISTS (SELECT 1 FROM archive WHERE OLD.sequence BETWEEN first AND last) AND "
    + " AND ".join(f"NEW.{name} IS OLD.{name}" for name in _KEPT)
)

SQLITE = {
    name: f"CREATE TRIGGER {name} {rest}"
    for table, number in _NUMBERED.items()
    for name, rest in {
        f"{table}_never_updated": (
            f"BEFORE UPDATE ON {table} {f'WHEN NOT ({_SQLITE_ARCHIVING}) ' if table == 'event' else ''}"
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        ),
        f"{table}_never_deleted": (
            f"BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        ),
        # Demanding the next number also shuts INSERT OR REPLACE, which deletes without firing DELETE
        # triggers unless recursive_triggers is on.
        f"{table}_without_gaps": (
            f"BEFORE INSERT ON {table} "
            f"WHEN NEW.{number} IS NOT (SELECT COALESCE(MAX({number}), 0) + 1 FROM {table}) "
            f"BEGIN SELECT RAISE(ABORT, '{table} must continue without gaps'); END"
        ),
    }.items()
}


class Guard(NamedTuple):
    """One PostgreSQL trigger: its table, when it fires, and the body of its function."""

    table: str
    event: str
    level: str
    source: str

    @property
    def kind(self) -> int:
        """`pg_trigger.tgtype`: bits for row, before, insert, delete, update, truncate."""
        bits = {"INSERT": 4, "DELETE": 8, "UPDATE": 16, "TRUNCATE": 32}
        return 2 + (self.level == "ROW") + sum(bits[event] for event in self.event.split(" OR "))


_DENY = "BEGIN RAISE EXCEPTION '{table} is append-only'; END"
_GAPLESS = (
    "BEGIN IF NEW.{number} IS DISTINCT FROM (SELECT COALESCE(MAX({number}), 0) + 1 FROM {table}) "
    "THEN RAISE EXCEPTION '{table} must continue without gaps'; END IF; RETURN NEW; END"
)
_POSTGRESQL_ARCHIVING = (
    "BEGIN IF NEW.body IS NULL AND OLD.body IS NOT NULL AND "
    "EXISTS (SELECT 1 FROM archive WHERE OLD.sequence BETWEEN first AND last) AND "
    + " AND ".join(f"NEW.{name} IS NOT DISTINCT FROM OLD.{name}" for name in _KEPT)
    + " THEN RETURN NEW; END IF; RAISE EXCEPTION 'event is append-only'; END"
)

POSTGRESQL = {
    name: guard
    for table, number in _NUMBERED.items()
    for name, guard in {
        f"{table}_never_updated": Guard(
            table, "UPDATE", "ROW", _POSTGRESQL_ARCHIVING if table == "event" else _DENY.format(table=table)
        ),
        f"{table}_never_deleted": Guard(table, "DELETE", "ROW", _DENY.format(table=table)),
        f"{table}_never_truncated": Guard(table, "TRUNCATE", "STATEMENT", _DENY.format(table=table)),
        f"{table}_without_gaps": Guard(table, "INSERT", "ROW", _GAPLESS.format(table=table, number=number)),
    }.items()
}


def install_guards(connection: sa.Connection) -> None:
    """Create every trigger anew, within the connection's transaction."""
    if connection.dialect.name == "sqlite":
        for name, statement in SQLITE.items():
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")
            connection.exec_driver_sql(statement)
        return
    for name, guard in POSTGRESQL.items():
        function = (
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ {guard.source} $$"
        )
        trigger = (
            f"CREATE OR REPLACE TRIGGER {name} BEFORE {guard.event} ON {guard.table} "
            f"FOR EACH {guard.level} EXECUTE FUNCTION {name}()"
        )
        # ALWAYS: also where a session claims to be a replica.
        always = f"ALTER TABLE {guard.table} ENABLE ALWAYS TRIGGER {name}"
        for statement in (function, trigger, always):
            connection.exec_driver_sql(statement)


def changed_guards(connection: sa.Connection) -> list[str]:
    """Say, one sentence each, which triggers are missing, altered or foreign, and which rules are there."""
    expected: dict[str, object]
    rules: list[str] = []
    if connection.dialect.name == "sqlite":
        expected = {**SQLITE}
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        found: dict[str, object] = {str(name): str(statement) for name, statement in rows}
    else:
        expected = {name: (guard.table, guard.kind, guard.source, "A") for name, guard in POSTGRESQL.items()}
        rows = connection.execute(_POSTGRESQL_TRIGGERS)
        found = {name: (table, kind, source.strip(), enabled) for name, table, kind, source, enabled in rows}
        rules = [f"rule {name} is not part of a trail" for name in connection.execute(_RULES).scalars()]
    missing = [f"trigger {name} is missing: rows could be changed since" for name in expected.keys() - found]
    altered = [
        f"trigger {name} was altered: rows could be changed since"
        for name in expected.keys() & found
        if found[name] != expected[name]
    ]
    foreign = [f"trigger {name} is not part of a trail" for name in found.keys() - expected.keys()]
    return sorted(missing + altered + foreign + rules)


_TABLES = "(" + ", ".join(f"to_regclass('{name}')" for name in _NUMBERED) + ")"
# A condition (tgqual) or a list of columns (tgattr) narrows when a trigger fires.
_POSTGRESQL_TRIGGERS = sa.text(
    "SELECT tgname, relname, "
    "CASE WHEN tgqual IS NULL AND tgattr::text = '' THEN tgtype::int ELSE -1 END, prosrc, tgenabled::text "
    "FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid "
    f"WHERE NOT tgisinternal AND tgrelid IN {_TABLES}"
)
_RULES = sa.text(f"SELECT rulename FROM pg_rewrite WHERE ev_class IN {_TABLES}")
