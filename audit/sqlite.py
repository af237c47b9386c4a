"""Opening a trail in an SQLite file, durable and shared between processes."""

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import sqlalchemy.event
import sqlalchemy.exc

from audit.errors import AppendError, AuditError, LockedError, OpenError, SchemaError
from audit.schema import EVENT, create_schema

_REASONS = {
    sqlite3.SQLITE_READONLY: "it is read-only; make the file and its folder writable",
    sqlite3.SQLITE_FULL: "the disk is full; free some space",
    sqlite3.SQLITE_IOERR: "the disk could not be read or written; check it",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; check the path and that you may read and write it",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restore it from a copy",
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database; name another one",
    sqlite3.SQLITE_CONSTRAINT: "its guards refused the row; verify the trail",
}


def open_engine(url: str, *, create: bool, busy_timeout_s: float) -> sa.Engine:
    """Connect to the trail at `url`, creating folder, file and table where `create` allows it.

    A new file is readable by its owner only. WAL lets others read while one writes; `synchronous=FULL`
    makes a commit durable before it returns.

    Args:
        url: An SQLAlchemy URL such as `sqlite:////srv/medvqa/audit.sqlite`.
        create: Whether a trail that does not exist is created.
        busy_timeout_s: How long to wait for another process's lock, in seconds.

    Raises:
        OpenError: If the URL names no SQLite file, or the file cannot be opened or created.
        SchemaError: If the database holds something else than a trail.
        LockedError: If another process keeps it locked.
    """
    parsed = _require_file(url)
    path = None if str(parsed.database).startswith("file:") else Path(str(parsed.database))
    if path is not None:
        _prepare_file(path, create=create)
    engine = sa.create_engine(parsed, connect_args={"timeout": busy_timeout_s})
    sqlalchemy.event.listen(engine, "connect", _configure)
    sqlalchemy.event.listen(engine, "begin", _begin)
    with translated(engine, OpenError):
        if _holds_trail(engine):
            return engine
        if not create:
            raise SchemaError(f"{parsed.database} is an empty database, not an audit trail; check the path")
        _create_trail(engine)
    return engine


def writer(engine: sa.Engine) -> sa.Engine:
    """The same engine, whose transactions take SQLite's write lock when they begin."""
    return engine.execution_options(write=True)


@contextmanager
def translated(engine: sa.Engine, error: type[AuditError]) -> Generator[None]:
    """Turn what SQLite reports into one sentence that names the trail and the way out."""
    trail = f"the audit trail {engine.url.database}"
    try:
        yield
    except sqlalchemy.exc.DBAPIError as failure:
        # The low byte is the primary code; the rest says more than a person needs.
        code = getattr(failure.orig, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise LockedError(
                f"{trail} is locked by another process; close the program that holds it and try again"
            ) from failure
        if code == sqlite3.SQLITE_NOTADB:
            error = SchemaError
        verb = "did not take the event" if error is AppendError else "cannot be used"
        raise error(f"{trail} {verb}: {_REASONS.get(code, failure.orig)}") from failure


def _require_file(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except sqlalchemy.exc.ArgumentError as error:
        raise OpenError(f"{url!r} is not a database URL; write sqlite:////path/to/audit.sqlite") from error
    if parsed.get_backend_name() != "sqlite":
        raise OpenError(
            f"audit trails in {parsed.get_backend_name()} are not supported; write sqlite:////path/to/audit.sqlite"
        )
    if parsed.database in (None, "", ":memory:"):
        raise OpenError(
            "an audit trail in memory would not outlive the program; write sqlite:////path/to/file"
        )
    return parsed


def _prepare_file(path: Path, *, create: bool) -> None:
    try:
        if create and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        elif not create and not path.is_file():
            raise OpenError(f"there is no audit trail at {path}; check the path, or record something first")
    except OSError as error:
        verb = "created" if create else "opened"
        raise OpenError(
            f"the audit trail {path} cannot be {verb}: {error.strerror}; "
            "name another place or get access to it"
        ) from error


def _configure(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # BEGIN is ours to send
    # Text that is not UTF-8 was written behind our back: it must be found, not fail to be read.
    connection.text_factory = _decode_text
    connection.execute("PRAGMA recursive_triggers = ON")
    connection.execute("PRAGMA synchronous = FULL")


def _decode_text(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _begin(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _holds_trail(engine: sa.Engine) -> bool:
    with engine.connect() as connection:
        return _is_trail(connection)


def _is_trail(connection: sa.Connection) -> bool:
    """Whether the trail's table exists; False when the database is empty."""
    tables = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars().all()
    if not tables:
        return False
    columns = connection.exec_driver_sql("SELECT name FROM pragma_table_info('event')").scalars().all()
    if list(columns) != EVENT.columns.keys():
        raise SchemaError(
            f"{connection.engine.url.database} is a database of something else than an audit trail; "
            "name another file"
        )
    return True


def _create_trail(engine: sa.Engine) -> None:
    # The journal mode is kept in the file, and cannot change within a transaction.
    with closing(engine.raw_connection()) as raw:
        raw.cursor().execute("PRAGMA journal_mode = WAL")
    with writer(engine).begin() as connection:
        if not _is_trail(connection):  # another process may have been faster
            create_schema(connection)
