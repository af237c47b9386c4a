"""The trail itself: append, read, verify, sign, prove."""

import platform
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from audit.appending import Appender
from audit.checkpoints import parse_checkpoint, sign_checkpoint
from audit.database import open_engine, translated, turn_to_write, writer
from audit.errors import AppendError, AuditError, ReadError
from audit.keys import SigningKey, VerifierKey
from audit.merkle import EMPTY_ROOT, Node, covering_nodes, fold
from audit.query import EVERYTHING, Filter
from audit.rows import Row, plain_entry, read_row
from audit.schema import AS_HELD, CHECKPOINT, EVENT
from audit.types import Checkpoint, Entry, Event, TreeHead, Verification
from audit.verification import verify_trail

PAGE = 500
"""Rows that are fetched at once."""


class Log:
    """An append-only trail in one table: an RFC 6962 Merkle tree whose heads can be signed.

    Threads may share a log; processes open one each. Writers queue: there is one order of events. With
    SQLite, the newest rows may stand in the file ending in `-wal` beside the trail while one is open: close
    every log before copying the file.

    Args:
        url: An SQLAlchemy URL, such as `sqlite:////srv/medvqa/audit.sqlite` or
            `postgresql://medvqa@db.example/audit`; with `sqlite:///file:/path?mode=ro&uri=true` it is only
            read.
        create: Whether a trail that does not exist is created.
        busy_timeout_s: How long to wait for another process's lock, in seconds.

    Raises:
        OpenError: If the trail cannot be opened or created.
        SchemaError: If the database holds something else, or a trail of another version.
        LockedError: If another process keeps it locked.
    """

    def __init__(self, url: str, *, create: bool = True, busy_timeout_s: float = 30.0) -> None:
        self._engine = open_engine(url, create=create, busy_timeout_s=busy_timeout_s)
        self._appender = Appender(self._engine.dialect, source=platform.node() or "unnamed")
        # Waiting for a database's lock is by polling and unfair: threads of one process queue here instead.
        self._appending = Lock()

    def append(self, entry: Entry) -> Event:
        """Record one event; it is durable when this returns. See `append_all`."""
        return self.append_all([entry])[0]

    def append_all(self, entries: Sequence[Entry]) -> tuple[Event, ...]:
        """Record events in this order, all or none; they are durable when this returns.

        Returns:
            The events as a later `read` gives them.

        Raises:
            AppendError: If an entry is not exact JSON, or the database refuses it. Nothing is recorded; only
                where the connection to a server broke during the commit, the error says that it may be.
            ClockError: If the clock stands before the last event's time. Nothing is recorded.
            LockedError: If another process keeps the trail locked. Nothing is recorded.
        """
        contents = [plain_entry(entry) for entry in entries]
        with self._appending, translated(self._engine, AppendError), turn_to_write(self._engine) as cursor:
            return self._appender.add(cursor, contents)

    def extend(self, connection: sa.Connection, contents: Sequence[dict[str, Any]]) -> tuple[Event, ...]:
        """Add events within a transaction of `writing`, for what must be recorded together with other rows.

        Args:
            connection: From `writing`.
            contents: From `rows.plain_entry`.
        """
        return self._appender.add(connection.connection.cursor(), contents)

    def read(
        self,
        matching: Filter = EVERYTHING,
        *,
        after: int | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[Event]:
        """Read events in order, a page at a time, so that a long trail needs little memory.

        What is read is not verified: that takes the whole tree, see `verify`.

        Args:
            matching: Which events.
            after: Only what follows this row in the order of reading: the last one of the page before.
            limit: At most so many events; None for all.
            newest_first: Whether the last row comes first.

        Raises:
            ReadError: If a row is malformed or archived, or the database cannot be read.
        """
        for row in self.read_rows(matching, after=after, limit=limit, newest_first=newest_first):
            yield read_row(row)

    def read_rows(
        self,
        matching: Filter = EVERYTHING,
        *,
        after: int | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[Row]:
        """Like `read`, as the database holds the rows: malformed and archived ones too."""
        query = matching.applied_to(AS_HELD)
        query = query.order_by(EVENT.c.sequence.desc() if newest_first else EVENT.c.sequence)
        remaining, last = limit, after
        while remaining is None or remaining > 0:
            size = PAGE if remaining is None else min(PAGE, remaining)
            page = query
            if last is not None:
                page = page.where(EVENT.c.sequence < last if newest_first else EVENT.c.sequence > last)
            with self.reading() as connection:
                rows = [Row(*found) for found in connection.execute(page.limit(size))]
            yield from rows
            if len(rows) < size:
                return
            last = rows[-1].sequence
            remaining = None if remaining is None else remaining - size

    def verify(
        self,
        *,
        keys: Sequence[VerifierKey] = (),
        checkpoints: Sequence[str] = (),
        archived: Iterable[tuple[int, str]] = (),
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Verification:
        """Recompute the whole tree from what the database holds, in constant memory, and check it all.

        Rows that were altered, deleted, moved or slipped in are found and named, even when it was done with
        the triggers dropped. Rows cut off the end, and a trail that somebody rewrote and hashed anew, are
        found by
        checkpoints: those in the table, and above all those kept where the writer of the database cannot
        reach them. What no checkpoint covers could have been rewritten. Nor can a tree show that what was
        recorded was true.

        Args:
            keys: Public keys that are trusted, the first at least; those that rotated in since are found.
            checkpoints: Signed notes that were kept elsewhere.
            archived: Bodies that were moved to archives, by ascending row.
            on_progress: Called now and then with the rows checked and the rows in all.

        Raises:
            ReadError: If the database cannot be read.
        """
        with self.snapshot() as connection:
            return verify_trail(
                connection,
                keys=keys,
                given=checkpoints,
                archived=archived,
                on_progress=on_progress,
            )

    def sign(self, keys: Sequence[SigningKey]) -> Checkpoint:
        """Sign the tree as it stands and keep the checkpoint in the table; the same again if nothing was
        added.

        The caller must also send it where the owner of the database cannot reach it.

        Args:
            keys: What signs, the newest first; more than one only when keys rotate.

        Raises:
            AppendError: If the database refuses it.
            LockedError: If another process keeps the trail locked.
        """
        with self.writing() as connection:
            return self.sign_within(connection, keys)

    def sign_within(self, connection: sa.Connection, keys: Sequence[SigningKey]) -> Checkpoint:
        """Like `sign`, within a transaction of `writing`."""
        size, frontier = self._appender.continue_from(connection.connection.cursor(), datetime.now(UTC))
        root = fold([value for _, value in frontier]) if frontier else EMPTY_ROOT
        signed = sign_checkpoint(size=size, root=root, keys=keys)
        last = connection.execute(sa.select(CHECKPOINT).order_by(CHECKPOINT.c.number.desc()).limit(1)).first()
        if last is None or last.note != signed.note:
            number = last.number + 1 if last else 1
            connection.execute(CHECKPOINT.insert().values(number=number, size=size, note=signed.note))
        return signed

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The checkpoints in the table, oldest first, not verified.

        Raises:
            CheckpointError: If one is malformed.
            ReadError: If the database cannot be read.
        """
        with self.reading() as connection:
            notes = connection.execute(sa.select(CHECKPOINT.c.note).order_by(CHECKPOINT.c.number)).scalars()
            return tuple(map(parse_checkpoint, notes))

    def size(self) -> int:
        """Number of the last row, 0 for none.

        Raises:
            ReadError: If the database cannot be read.
        """
        with self.reading() as connection:
            return connection.scalar(sa.select(sa.func.max(EVENT.c.sequence))) or 0

    def tree_head(self) -> TreeHead:
        """What the tree is as it stands, from the hashes that are kept: `verify` recomputes them.

        Raises:
            ReadError: If the database cannot be read.
        """
        with self.snapshot() as connection:
            size: int = connection.scalar(sa.select(sa.func.max(EVENT.c.sequence))) or 0
            return TreeHead(size=size, root=read_root(connection, size).hex())

    @contextmanager
    def writing(self, error: type[AuditError] = AppendError) -> Generator[sa.Connection]:
        """A transaction that has its turn to write; durable when it ends, undone by any exception."""
        with self._appending, translated(self._engine, error), writer(self._engine).begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Generator[sa.Connection]:
        """A connection for queries."""
        with translated(self._engine, ReadError), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Generator[sa.Connection]:
        """A connection that sees one state of the trail, however many queries it makes."""
        engine = self._engine
        if engine.dialect.name == "postgresql":
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with translated(self._engine, ReadError), engine.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections; the last one to close leaves everything in one SQLite file."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_root(connection: sa.Connection, size: int) -> bytes:
    """Root of the tree over the first `size` rows, 32 bytes.

    Raises:
        ReadError: If rows are missing.
    """
    return fold(read_nodes(connection, covering_nodes(0, size))) if size else EMPTY_ROOT


def read_nodes(connection: sa.Connection, nodes: Sequence[Node]) -> list[bytes]:
    """Hashes of perfect subtrees, each from the row that completed it.

    Raises:
        ReadError: If a row is missing or its hashes are malformed.
    """
    places = {node: (node[1] + 1) << node[0] for node in nodes}
    query = sa.select(EVENT.c.sequence, EVENT.c.hashes).where(EVENT.c.sequence.in_(places.values()))
    found = {row.sequence: row.hashes for row in connection.execute(query)}
    hashes = [found.get(places[level, index], b"")[32 * level :][:32] for level, index in nodes]
    if any(len(value) != 32 for value in hashes):
        raise ReadError("the hashes of the audit trail are incomplete; verify the trail")
    return hashes
