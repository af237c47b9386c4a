"""The trail itself: append, read, verify."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from threading import Lock
from types import TracebackType
from typing import Self

import sqlalchemy as sa

from audit.canonical import require_plain
from audit.chain import Row, compose_row, is_digest, read_row, require_label
from audit.errors import AppendError, ReadError
from audit.schema import EVENT, GENESIS, changed_guards
from audit.sqlite import open_engine, translated, writer
from audit.types import JSON, Event, Verification
from audit.verification import verify_rows

PAGE = 500
"""Rows that are fetched at once."""

# Every value as the database holds it: column types would fail on what tampering may have left.
_ROWS = sa.select(*(sa.type_coerce(column, sa.types.NullType()) for column in EVENT.columns)).select_from(
    EVENT
)


class Log:
    """An append-only, hash-chained trail in one table.

    Threads may share a log; processes open one each, on the same file. While one is open, the newest rows
    may stand in the file ending in `-wal` beside it: close every log before copying the file.

    Args:
        url: An SQLAlchemy URL of an SQLite file, such as `sqlite:////srv/medvqa/audit.sqlite`; with
            `sqlite:///file:/path?mode=ro&uri=true` it is only read.
        create: Whether a trail that does not exist is created, with its folder.
        busy_timeout_s: How long to wait for another process's lock, in seconds.

    Raises:
        OpenError: If the trail cannot be opened or created.
        SchemaError: If the database holds something else.
        LockedError: If another process keeps it locked.
    """

    def __init__(self, url: str, *, create: bool = True, busy_timeout_s: float = 30.0) -> None:
        self._engine = open_engine(url, create=create, busy_timeout_s=busy_timeout_s)
        # SQLite's waiting is by polling and unfair: threads of one process queue here instead.
        self._appending = Lock()

    def append(self, *, agent: str, action: str, subject: str, entity: Mapping[str, JSON]) -> Event:
        """Record one event; it is durable when this returns.

        Args:
            agent: Who did it; one printable line, like `action` and `subject`.
            action: What was done.
            subject: To what.
            entity: The particulars; see `audit.JSON`.

        Returns:
            The event as a later `read` gives it.

        Raises:
            AppendError: If the entity is not exact JSON, or the database refuses it. Nothing is recorded.
            LockedError: If another process keeps the trail locked. Nothing is recorded.
        """
        content = {
            "agent": require_label(agent, "agent"),
            "action": require_label(action, "action"),
            "subject": require_label(subject, "subject"),
            "entity": require_plain(entity),
        }
        with (
            self._appending,
            translated(self._engine, AppendError),
            writer(self._engine).begin() as connection,
        ):
            last = connection.execute(_ROWS.order_by(EVENT.c.sequence.desc()).limit(1)).first()
            row = compose_row(
                sequence=last.sequence + 1 if last else 1,
                previous_hash=_require_head(last.hash) if last else GENESIS,
                recorded=datetime.now(UTC),
                content=content,
            )
            connection.execute(EVENT.insert().values(row._asdict()))
        return read_row(row)

    def read(
        self,
        *,
        sequence: int | None = None,
        after: int = 0,
        action: str | None = None,
        subject: str | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[Event]:
        """Read events in order, a page at a time, so that a long trail needs little memory.

        What is read is not verified: that takes the whole chain, see `verify`.

        Args:
            sequence: Only this row.
            after: Only rows after this one.
            action: Only this action.
            subject: Only this subject.
            limit: At most so many events; None for all.
            newest_first: Whether the last row comes first.

        Raises:
            ReadError: If a row is malformed, or the file cannot be read.
        """
        query = _ROWS.where(EVENT.c.sequence > after)
        if sequence is not None:
            query = query.where(EVENT.c.sequence == sequence)
        if action is not None:
            query = query.where(EVENT.c.action == action)
        if subject is not None:
            query = query.where(EVENT.c.subject == subject)
        query = query.order_by(EVENT.c.sequence.desc() if newest_first else EVENT.c.sequence)
        remaining, page = limit, query
        while remaining is None or remaining > 0:
            size = PAGE if remaining is None else min(PAGE, remaining)
            with translated(self._engine, ReadError), self._engine.connect() as connection:
                rows = [Row(*found) for found in connection.execute(page.limit(size))]
            yield from map(read_row, rows)
            if len(rows) < size:
                return
            last = rows[-1].sequence
            page = query.where(EVENT.c.sequence < last if newest_first else EVENT.c.sequence > last)
            remaining = None if remaining is None else remaining - size

    def verify(
        self, *, expected_head: str | None = None, on_progress: Callable[[int, int], None] | None = None
    ) -> Verification:
        """Recompute the whole chain from what the database holds, in constant memory.

        Rows that were altered, deleted, moved or slipped in are found and named, even when it was done
        with the triggers dropped. A bare hash chain cannot show two things: rows cut off its *end*, and a
        chain that somebody rewrote and hashed anew from some row to the end. Both are found when a hash
        noted earlier, somewhere that the writer of the database cannot reach, is given as `expected_head`:
        it must still be the hash of some row. Only what precedes that row is covered. Nor does a chain
        show that what was recorded was true, or that the clock was right.

        Args:
            expected_head: `Verification.head` or `Event.hash` noted earlier; 64 hexadecimal digits.
            on_progress: Called now and then with the rows checked and the rows in all.

        Raises:
            ReadError: If `expected_head` is no SHA-256, or the file cannot be read.
        """
        if expected_head is not None:
            expected_head = expected_head.strip().lower()
            if not is_digest(expected_head):
                raise ReadError(
                    "the expected head is no SHA-256; give the 64 hexadecimal digits noted earlier"
                )
        with translated(self._engine, ReadError), self._engine.connect() as connection:
            total = connection.scalar(sa.select(sa.func.count()).select_from(EVENT)) or 0
            found = connection.execution_options(yield_per=PAGE).execute(_ROWS.order_by(EVENT.c.sequence))
            rows = _reporting((Row(*row) for row in found), total, on_progress)
            return verify_rows(rows, guards=changed_guards(connection), expected_head=expected_head)

    def close(self) -> None:
        """Close all connections; the last one to close leaves everything in one file."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _require_head(found: object) -> str:
    if not is_digest(found):
        raise AppendError("the last row of the audit trail has a malformed hash; verify the trail")
    return str(found)


def _reporting(
    rows: Iterable[Row], total: int, on_progress: Callable[[int, int], None] | None
) -> Iterator[Row]:
    for done, row in enumerate(rows, start=1):
        yield row
        if on_progress is not None and (done % PAGE == 0 or done == total):
            on_progress(done, total)
