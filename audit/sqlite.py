"""SQLite as the home of a trail: one file, durable commits, and its errors in plain words."""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from audit.errors import AppendError, OpenError

TURN = "BEGIN IMMEDIATE"
"""Begins a transaction that writes: it takes the lock at once, and so sees the last row."""

_HOME = "medvqa_home"

_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full; make room and try again",
    # Whoever opened a read-only trail left the two files beside it read-only as well.
    sqlite3.SQLITE_READONLY: "it is read-only; make the file, its -wal and -shm, and its folder writable",
    sqlite3.SQLITE_CANTOPEN: "the file or its folder cannot be opened; check path and permissions",
    sqlite3.SQLITE_IOERR: "the disk cannot be read or written; check it, and make room",
    sqlite3.SQLITE_PERM: "you may not write it; get write access to the file and its folder",
    sqlite3.SQLITE_AUTH: "you may not write it; get write access to the file and its folder",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restore it from a copy",
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database; name another one",
    sqlite3.SQLITE_CONSTRAINT: "its guards refused the row; verify the trail",
}


def prepare_url(url: sa.URL, *, create: bool) -> sa.URL:
    """Check that the URL names a file; create it, readable by its owner only, where `create` allows it.

    Raises:
        OpenError: If the URL names no file, or the file is missing or cannot be created.
    """
    if url.database in (None, "", ":memory:"):
        raise OpenError(
            "an audit trail in memory would not outlive the program; write sqlite:////path/to/file"
        )
    if not str(url.database).startswith("file:"):
        _prepare_file(Path(str(url.database)), create=create)
    return url


def connect_args(busy_timeout_s: float) -> dict[str, Any]:
    """What the driver is opened with."""
    return {"timeout": busy_timeout_s}


def configure(connection: Any, record: Any) -> None:
    """Set up one connection: durable commits, and transactions that are ours to begin."""
    connection.isolation_level = None
    # Text that is not UTF-8 was written behind our back: it must be found, not fail to be read.
    connection.text_factory = _decode_text
    connection.execute("PRAGMA recursive_triggers = ON")
    connection.execute("PRAGMA synchronous = FULL")
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    record.info[_HOME] = (path, _identity(path))


def require_in_place(info: Mapping[str, Any]) -> None:
    """Refuse to write a file that was deleted or replaced since it was opened: nobody would find the rows.

    Raises:
        AppendError: If so.
    """
    path, identity = info[_HOME]
    if _identity(path) != identity:
        raise AppendError(
            f"the audit trail {path} was deleted or replaced while it was open; put it back and start anew"
        )


def begin(connection: sa.Connection) -> None:
    """Begin a transaction; one that writes takes the lock at once, and so sees the last row."""
    write = connection.get_execution_options().get("write")
    connection.exec_driver_sql(TURN if write else "BEGIN")
    if write:
        require_in_place(connection.info)


def prepare_database(engine: sa.Engine) -> None:
    """Let others read while one writes; this is kept in the file, and cannot change within a transaction."""
    with closing(engine.raw_connection()) as raw:
        raw.cursor().execute("PRAGMA journal_mode = WAL")


def stream(driver: sqlite3.Connection, statement: str, page: int) -> Iterator[tuple[Any, ...]]:
    """The rows of a query whose first column is their ascending number."""
    cursor, last = driver.cursor(), None
    cursor.arraysize = page
    try:
        driver.text_factory = str  # three times as fast as one that forgives
        for last in cursor.execute(statement):
            yield last
        return
    except sqlite3.OperationalError:
        if last is None and driver.in_transaction is False:
            raise
    finally:
        driver.text_factory = _decode_text
    for row in driver.execute(statement):
        if last is None or row[0] > last[0]:
            yield row


def tables(connection: sa.Connection) -> set[str]:
    """Names of the tables in the file."""
    found = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
    return set(found.scalars().all())


def is_locked(failure: BaseException) -> bool:
    """Whether another process holds the lock."""
    return _code(failure) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_foreign(failure: BaseException) -> bool:
    """Whether the file is no database at all."""
    return _code(failure) == sqlite3.SQLITE_NOTADB


def reason(failure: BaseException) -> str:
    """What went wrong, and the way out."""
    return _REASONS.get(_code(failure), str(failure))


def _code(failure: BaseException) -> int:
    # The low byte is the primary code; the rest says more than a person needs.
    return getattr(failure, "sqlite_errorcode", 0) & 0xFF


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - on every append
    except OSError:
        return None
    return found.st_dev, found.st_ino


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


def _decode_text(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")
