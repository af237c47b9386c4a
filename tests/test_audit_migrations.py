"""Migrations give the tables that the code expects, on both databases, and carry trails of 0.1 over."""

import hashlib
import json
import sqlite3
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from setuptools import find_packages
from trails import entry, python, raw, url_of

import audit
from audit.database import upgrade
from audit.migrations import HEAD
from audit.schema import metadata

ROOT = Path(audit.__file__).parents[1]

CHAINED = """
CREATE TABLE event (
    sequence INTEGER NOT NULL, recorded TEXT NOT NULL, agent TEXT NOT NULL, action TEXT NOT NULL,
    subject TEXT NOT NULL, body BLOB NOT NULL, previous_hash TEXT NOT NULL, hash TEXT NOT NULL,
    PRIMARY KEY (sequence)
);
CREATE INDEX ix_event_action ON event (action);
CREATE INDEX ix_event_subject ON event (subject);
CREATE TRIGGER event_never_updated BEFORE UPDATE ON event
    BEGIN SELECT RAISE(ABORT, 'event is append-only'); END;
CREATE TRIGGER event_never_deleted BEFORE DELETE ON event
    BEGIN SELECT RAISE(ABORT, 'event is append-only'); END;
CREATE TRIGGER event_without_gaps BEFORE INSERT ON event
    WHEN NEW.sequence IS NOT (SELECT COALESCE(MAX(sequence), 0) + 1 FROM event)
    BEGIN SELECT RAISE(ABORT, 'event sequence must continue without gaps'); END;
CREATE TRIGGER event_chained BEFORE INSERT ON event WHEN NEW.sequence > 1
    AND NEW.previous_hash IS NOT (SELECT hash FROM event WHERE sequence = NEW.sequence - 1)
    BEGIN SELECT RAISE(ABORT, 'event must continue the hash chain'); END;
PRAGMA journal_mode = WAL;
"""
"""The tables of medvqa 0.1."""


@pytest.fixture
def chained(tmp_path: Path) -> Path:
    """A trail of five events as medvqa 0.1 left it: each hash covers the one before."""
    path = tmp_path / "audit.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(CHAINED)
        before = "0" * 64
        for sequence in range(1, 6):
            content = {
                "action": "answer" if sequence % 2 else "review",
                "agent": "dr-17",
                "entity": {"text": "ja ü \u2028 \0", "x": 100000000000000000000, "n": sequence},
                "recorded": f"2024-05-0{sequence}T08:00:00.000000+00:00",
                "sequence": sequence,
                "subject": f"answer-{sequence}",
            }
            body = json.dumps(content, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
            after = hashlib.sha256(bytes.fromhex(before) + body).hexdigest()
            fields = [content[name] for name in ("sequence", "recorded", "agent", "action", "subject")]
            connection.execute(
                "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [*fields, body, before, after]
            )
            before = after
        connection.commit()
    return path


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_alembic_finds_no_difference_from_the_tables_in_code(trail_url: str) -> None:
    audit.Log(trail_url).close()
    with raw(trail_url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_migrations_give_the_very_tables_that_the_code_would_create(trail_url: str) -> None:
    """Collations, conditions of indexes and the order of columns as well, which Alembic does not compare."""
    audit.Log(trail_url).close()
    with raw(trail_url) as connection:
        migrated = catalogue(connection)
        for table in metadata.tables:
            connection.execute(sa.text(f"DROP TABLE {table}"))
        metadata.create_all(connection)
        assert catalogue(connection) == migrated
    assert len(migrated) > 10


def catalogue(connection: sa.Connection) -> list[Any]:
    if connection.dialect.name == "sqlite":
        query = (
            "SELECT sql FROM sqlite_master WHERE type != 'trigger' AND name NOT LIKE 'alembic%' AND sql != ''"
        )
        return sorted(" ".join(sql.split()) for sql in connection.execute(sa.text(query)).scalars())
    columns = (
        "SELECT table_name, ordinal_position, column_name, data_type, is_nullable, collation_name "
        "FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE 'alembic%'"
    )
    indexes = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename NOT LIKE 'alembic%'"
    return sorted(str(row) for query in (columns, indexes) for row in connection.execute(sa.text(query)))


def test_the_code_expects_the_last_migration(trail_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", "audit:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]
    audit.Log(trail_url).close()
    with raw(trail_url) as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == HEAD


def test_the_migrations_are_installed_with_the_package() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    assert {"audit.migrations", "audit.migrations.versions"} <= set(find_packages(str(ROOT), **options))


def test_a_trail_of_medvqa_0_1_is_left_alone_until_it_is_upgraded(chained: Path) -> None:
    before = dump(chained)
    with pytest.raises(
        audit.SchemaError, match=r"is an audit trail of medvqa 0\.1; run `medvqa audit upgrade`"
    ):
        audit.Log(url_of(chained))
    assert dump(chained) == before


def test_upgrading_carries_every_byte_over(chained: Path) -> None:
    with closing(sqlite3.connect(chained)) as connection:
        before = connection.execute(
            "SELECT sequence, recorded, agent, action, subject, CAST(body AS TEXT) FROM event"
        ).fetchall()
        head = connection.execute("SELECT hash FROM event WHERE sequence = 5").fetchone()[0]
    upgrade(url_of(chained))
    with closing(sqlite3.connect(chained)) as connection:
        after = connection.execute(
            "SELECT sequence, recorded, agent, action, subject, body FROM event WHERE sequence <= 5"
        ).fetchall()
        assert (
            connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'chained%'").fetchall() == []
        )
    assert after == before
    with audit.Log(url_of(chained)) as log:
        *carried, said = log.read()
        assert [event.entity["n"] for event in carried] == [1, 2, 3, 4, 5]
        assert (said.action, said.entity) == ("upgrade", {"chained_events": 5, "chain_head": head})
        assert log.append(entry()).sequence == 7
        result = log.verify()
        assert (result.intact, result.events, result.problems) == (True, 7, ())


def test_a_broken_chain_is_not_upgraded_and_stays_as_it_is(chained: Path) -> None:
    with closing(sqlite3.connect(chained)) as connection:
        connection.execute("DROP TRIGGER event_never_updated")
        connection.execute(
            "UPDATE event SET body = CAST(replace(body, 'dr-17', 'dr-18') AS BLOB) WHERE sequence = 3"
        )
        connection.commit()
    before = dump(chained)
    with pytest.raises(audit.SchemaError, match=r"row 3 of the audit trail does not continue its hash chain"):
        upgrade(url_of(chained))
    assert dump(chained) == before


def test_an_empty_chain_is_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "audit.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(CHAINED)
    upgrade(url_of(path))
    with audit.Log(url_of(path)) as log:
        assert log.verify().intact
        assert next(log.read()).entity == {"chained_events": 0, "chain_head": "0" * 64}


def test_upgrading_what_needs_none_changes_nothing(trail_url: str) -> None:
    with audit.Log(trail_url) as log:
        event = log.append(entry())
    upgrade(trail_url)
    with audit.Log(trail_url) as log:
        assert list(log.read()) == [event]
        assert log.verify().intact


@pytest.mark.parametrize("table", ["event", "patient"])
def test_upgrading_something_else_is_refused(trail_url: str, table: str) -> None:
    with raw(trail_url) as connection:
        connection.execute(sa.text(f"CREATE TABLE {table} (id INTEGER, body TEXT)"))
    with pytest.raises(audit.SchemaError, match="is no audit trail; check the path"):
        upgrade(trail_url)
    with raw(trail_url) as connection:
        assert sa.inspect(connection).get_table_names() == [table]
        assert [column["name"] for column in sa.inspect(connection).get_columns(table)] == ["id", "body"]


def test_upgrading_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(audit.OpenError, match="there is no audit trail at"):
        upgrade(url_of(tmp_path / "audit.sqlite"))


def test_upgrading_a_later_version_is_refused(trail_url: str) -> None:
    audit.Log(trail_url).close()
    with raw(trail_url) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(audit.SchemaError, match="install the newest medvqa"):
        upgrade(trail_url)


def test_opening_a_trail_loads_no_alembic(tmp_path: Path) -> None:
    audit.Log(url_of(tmp_path / "audit.sqlite")).close()
    code = "import audit, sys; audit.Log(sys.argv[1]); print('alembic' in sys.modules)"
    assert python(code, url_of(tmp_path / "audit.sqlite")).communicate()[0].strip() == "False"
