"""Opening a trail: what is created, what is only read, and what is refused in one clear sentence."""

import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from trails import entry, python, raw, url_of

import audit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.sqlite"


def test_a_read_only_trail_is_read_but_not_written(path: Path) -> None:
    with audit.Log(url_of(path)) as log:
        log.append(entry())
    with audit.Log(f"sqlite:///file:{path}?mode=ro&uri=true", create=False) as log:
        assert log.verify().intact
        with pytest.raises(audit.AppendError, match=r"audit\.sqlite did not take the event: it is read-only"):
            log.append(entry())


def test_a_missing_folder_is_created_and_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "a folder with spaces" / "ü" / "audit.sqlite"
    with audit.Log(url_of(path)) as log:
        log.append(entry())
        modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert modes == {0o600}
        assert len(list(path.parent.iterdir())) > 1  # the WAL is as private as the trail


def test_a_trail_that_is_not_to_be_created_must_exist(path: Path) -> None:
    with pytest.raises(audit.OpenError, match="there is no audit trail at"):
        audit.Log(url_of(path), create=False)
    assert not path.exists()


def test_an_empty_database_is_no_trail(trail_url: str, tmp_path: Path) -> None:
    (tmp_path / "audit.sqlite").touch()
    with pytest.raises(audit.SchemaError, match="is an empty database, not an audit trail"):
        audit.Log(trail_url, create=False)


def test_a_path_that_the_system_refuses_is_an_open_error(tmp_path: Path) -> None:
    # Stands for a folder without permission, which root, who runs the tests in containers, always has.
    for create in (True, False):
        with pytest.raises(audit.OpenError, match="File name too long; name another place"):
            audit.Log(url_of(tmp_path / ("x" * 300)), create=create)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("audit.sqlite", "is not a database URL"),
        ("mysql://host/audit", "audit trails in mysql are not supported"),
        ("sqlite://", "in memory would not outlive"),
        ("sqlite:///:memory:", "in memory would not outlive"),
        ("sqlite:////proc/none/audit.sqlite", "cannot be created"),
        ("sqlite:////tmp", "the file or its folder cannot be opened"),
        ("postgresql://medvqa:secret@127.0.0.1:1/audit", r"medvqa:\*\*\*@.*the server does not answer"),
    ],
)
def test_what_is_no_trail_is_refused(url: str, message: str) -> None:
    with pytest.raises(audit.OpenError, match=message):
        audit.Log(url)


def test_a_database_that_does_not_exist_is_named(postgresql_url: str) -> None:
    with pytest.raises(audit.OpenError, match=r"refuses the connection \(database .* does not exist\)"):
        audit.Log(f"{postgresql_url}_absent")


def test_a_database_that_cannot_hold_every_text_is_refused(postgresql_server: Any) -> None:
    postgresql_server.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(audit.OpenError, match="the database is not in UTF-8"):
        audit.Log(postgresql_server.url("latin"))
    postgresql_server.execute("DROP DATABASE latin WITH (FORCE)")


@pytest.mark.parametrize("table", ["event", "patient"])
def test_a_foreign_database_is_refused_and_left_alone(trail_url: str, table: str) -> None:
    with raw(trail_url) as connection:
        connection.execute(sa.text(f"CREATE TABLE {table} (id INTEGER, body TEXT)"))
    with pytest.raises(audit.SchemaError, match="is a database of something else than an audit trail"):
        audit.Log(trail_url)
    with raw(trail_url) as connection:
        assert sa.inspect(connection).get_table_names() == [table]


def test_a_trail_of_a_later_version_is_refused(trail_url: str) -> None:
    audit.Log(trail_url).close()
    with raw(trail_url) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(audit.SchemaError, match=r"of another version; run `medvqa audit upgrade`"):
        audit.Log(trail_url)


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("not a database, but long enough to have a header\n" * 40)
    before = path.read_bytes()
    with pytest.raises(audit.SchemaError, match="the file is not an SQLite database"):
        audit.Log(url_of(path))
    assert path.read_bytes() == before


def test_a_trail_without_its_write_ahead_log_is_whole_once_closed(path: Path) -> None:
    with audit.Log(url_of(path)) as log:
        log.append(entry())
    assert list(path.parent.iterdir()) == [path]
    assert sqlite3.connect(path).execute("SELECT count(*) FROM event").fetchone() == (1,)


def test_importing_audit_loads_no_database_library() -> None:
    code = (
        "import audit, audit.errors, audit.types, sys; print([m for m in sys.modules if 'sqlalchemy' in m])"
    )
    assert python(code).communicate()[0].strip() == "[]"
