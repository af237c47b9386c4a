"""Archiving: old bodies leave the table for signed files (`audit.archive_files`), and none is ever lost."""

import os
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from audit.actions import Action
from audit.archive_files import Archived, beside, check_archive, read_archive, write_archive
from audit.database import stream
from audit.errors import AppendError, ReadError
from audit.keys import SigningKey, VerifierKey
from audit.log import PAGE, Log, read_nodes
from audit.merkle import leaf_hash
from audit.query import Filter
from audit.rows import Row, plain_entry
from audit.schema import ARCHIVE, AS_HELD, EVENT
from audit.trust import ROTATION
from audit.types import Checkpoint, Entry

__all__ = ["Archived", "archive", "check_archive", "read_archive"]


def archive(
    log: Log, *, before: datetime, folder: Path, key: SigningKey, agent: str, role: str | None = None
) -> Archived:
    """Move the bodies of all rows recorded before a time, and not archived yet, into one file in `folder`.

    The file is durable, and was read back and checked, before a body leaves the table: whatever happens, each
    body is in the table or in such a file. Then, in one transaction, the archive is recorded, its bodies
    leave the table, and a checkpoint is signed. Rows stay searchable by their columns. Announced keys stay in
    the table as well, so that trust can be followed without the files.

    The database may keep what left it in free pages and in logs of its own; `VACUUM` clears the pages.

    Args:
        log: The trail.
        before: Rows up to the first that was recorded at this time or later; in UTC where it has no zone.
        folder: Where the file is written, named by its rows; it is created.
        key: What signs; one that the trail is signed with.
        agent: Who archives.
        role: In which role; None where it is not known.

    Raises:
        ReadError: If no row is old enough, or one is not what was recorded. Nothing was archived.
        AppendError: If the folder or the database refuses. Nothing left the table.
        LockedError: If another process keeps the trail locked. Nothing left the table.
    """
    with log.reading() as connection:
        rows = _due(connection, before)
    checkpoint = log.sign([key])
    path = folder / f"audit-{rows[0]:010}-{rows[-1]:010}.zip"
    with _partial(folder) as partial:
        _write(partial, log, rows, checkpoint=checkpoint, key=key)
        written = replace(check_archive(partial, keys=[key.verifier], kept=[checkpoint]), path=path)
        _require_free(written, key.verifier)
        partial.replace(path)
        _sync(folder)
    _record(log, written, key=key, agent=agent, role=role)
    return written


def _due(connection: sa.Connection, before: datetime) -> range:
    """Rows that are old enough and not archived yet."""
    newer = connection.scalar(Filter(since=before).applied_to(sa.select(sa.func.min(EVENT.c.sequence))))
    last = newer - 1 if newer else connection.scalar(sa.select(sa.func.max(EVENT.c.sequence))) or 0
    rows = range(_archived(connection) + 1, last + 1)
    if not rows:
        raise ReadError("no row of that age is left to archive; name a later time")
    return rows


def _archived(connection: sa.Connection) -> int:
    return connection.scalar(sa.select(sa.func.max(ARCHIVE.c.last))) or 0


@contextmanager
def _partial(folder: Path) -> Generator[Path]:
    """A file of its own to write into, gone afterwards unless it was renamed."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(dir=folder, prefix="audit-", suffix=".partial")
        os.close(descriptor)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise AppendError(
            f"the archive cannot be written to {folder}: {error.strerror}; nothing left the audit trail, "
            "so make room or name another folder and try again"
        ) from error


def _write(path: Path, log: Log, rows: range, *, checkpoint: Checkpoint, key: SigningKey) -> None:
    before, after = beside(rows, checkpoint.size)
    with log.snapshot() as connection, path.open("wb") as file:
        hashes = read_nodes(connection, [*before, *after])
        write_archive(
            file, _bodies(connection, rows), rows=rows, hashes=hashes, checkpoint=checkpoint, key=key
        )
        file.flush()
        os.fsync(file.fileno())


def _bodies(connection: sa.Connection, rows: range) -> Iterator[bytes]:
    """The rows' bodies, each checked against the leaf hash that it was recorded with."""
    query = AS_HELD.where(EVENT.c.sequence.between(rows[0], rows[-1])).order_by(EVENT.c.sequence)
    found = stream(connection, query, page=PAGE)
    for number in rows:
        row = Row._make(next(found, [None] * len(Row._fields)))
        body = row.body.encode("utf-8", "surrogateescape") if isinstance(row.body, str) else b""
        recorded = row.hashes[:32] if isinstance(row.hashes, bytes) else b""
        if row.sequence != number or leaf_hash(body) != recorded:
            raise ReadError(
                f"row {number} of the audit trail is not what was recorded, so nothing was archived; "
                "verify the trail"
            )
        yield body


def _require_free(written: Archived, key: VerifierKey) -> None:
    """Refuse to replace anything but what an earlier attempt left: the same rows."""
    if written.path.exists() and check_archive(written.path, keys=[key]).sha256 != written.sha256:
        raise AppendError(
            f"there is another archive at {written.path}; nothing left the audit trail: name another folder"
        )


def _sync(folder: Path) -> None:
    if os.name == "posix":  # elsewhere folders cannot be opened, and need not be
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _record(log: Log, written: Archived, *, key: SigningKey, agent: str, role: str | None) -> None:
    """Take the bodies out of the table, together with the record of where they are."""
    rows = {"first": written.first, "last": written.last, "sha256": written.sha256}
    entity = {**rows, "file": written.path.name}
    entry = Entry(agent=agent, role=role, action=Action.ARCHIVE, subject="trail", entity=entity)
    with log.writing() as connection:
        if _archived(connection) != written.first - 1:
            raise AppendError("another process archived these rows meanwhile; nothing is left to do")
        number = (connection.scalar(sa.select(sa.func.max(ARCHIVE.c.number))) or 0) + 1
        log.extend(connection, [plain_entry(entry)])
        connection.execute(ARCHIVE.insert().values(number=number, note=written.statement, **rows))
        leaving = EVENT.c.sequence.between(written.first, written.last) & (EVENT.c.action != ROTATION)
        connection.execute(EVENT.update().where(leaving).values(body=None))
        log.sign_within(connection, [key])
