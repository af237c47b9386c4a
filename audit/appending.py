"""Adding events to the table, in the driver's own calls: SQLAlchemy's would cost several times the time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from audit.errors import AppendError, ClockError
from audit.merkle import Node, covering_nodes, grow, leaf_hash
from audit.rows import compose_body, event_of, write_time
from audit.schema import BODY_COLUMNS, EVENT
from audit.types import Event

CLOCK_TOLERANCE = timedelta(seconds=5)
"""How far a clock may stand before the last event's time: machines that share a trail differ a little."""

Frontier = list[tuple[Node, bytes]]
"""The perfect subtrees that cover the trail, from left to right."""


class Appender:
    """Continues the tree of one trail; its caller holds the turn to write, and the transaction.

    Args:
        dialect: Of the database.
        source: The machine that records.
    """

    def __init__(self, dialect: sa.Dialect, *, source: str) -> None:
        self._mark = "?" if dialect.paramstyle == "qmark" else "%s"
        columns = ("sequence", *BODY_COLUMNS, "body", "hashes")
        marks = ", ".join([self._mark] * len(columns))
        self._insert = f"INSERT INTO {EVENT.name} ({', '.join(columns)}) VALUES ({marks})"
        self._tip = f"SELECT sequence, recorded, hashes FROM {EVENT.name} ORDER BY sequence DESC LIMIT 1"
        self._source = source
        self._last: tuple[int, bytes] = (0, b"")
        self._frontier: Frontier = []

    def add(self, cursor: Any, contents: Sequence[dict[str, Any]]) -> tuple[Event, ...]:
        """Insert events, given as `rows.plain_entry` returns them, and return them as they were recorded.

        Raises:
            AppendError: If the last row is malformed, or the database says that it took fewer rows.
            ClockError: If the clock stands before the last event's time.
        """
        now = datetime.now(UTC)
        size, frontier = self.continue_from(cursor, now)
        recorded = write_time(now)
        rows: list[tuple[Any, ...]] = []
        events: list[Event] = []
        for content in contents:
            size += 1
            described = {**content, "sequence": size, "recorded": recorded, "source": self._source}
            body = compose_body(described)
            hashes = grow(frontier, size - 1, leaf_hash(body))
            rows.append((size, *map(described.get, BODY_COLUMNS), body.decode(), hashes))
            events.append(event_of(described, recorded=now, leaf=hashes[:32]))
        if len(rows) == 1:
            cursor.execute(self._insert, rows[0])
        elif rows:
            cursor.executemany(self._insert, rows)
        if rows:
            if cursor.rowcount != len(rows):  # a foreign trigger or rule can drop rows without an error
                raise AppendError("the database of the audit trail did not keep the event; verify the trail")
            # Should the transaction fail, this will not match the last row, and is not used.
            self._last, self._frontier = (size, rows[-1][-1]), frontier
        return tuple(events)

    def continue_from(self, cursor: Any, now: datetime) -> tuple[int, Frontier]:
        """Number of the last row, and the subtrees that cover the rows so far.

        Raises:
            AppendError: If the last row is malformed.
            ClockError: If `now` lies before the last event's time.
        """
        tip = cursor.execute(self._tip).fetchone()
        if tip is None:
            return 0, []
        size, recorded, hashes = tip
        if write_time(now + CLOCK_TOLERANCE) < str(recorded):
            raise ClockError(
                f"the clock says {now:%Y-%m-%d %H:%M:%S} UTC, before the last event of the audit trail at "
                f"{str(recorded)[:19]}; set the clock right and try again"
            )
        if self._last == (size, hashes):
            return size, list(self._frontier)
        return size, self._read_frontier(cursor, size)

    def _read_frontier(self, cursor: Any, size: int) -> Frontier:
        places = {(index + 1) << level: (level, index) for level, index in covering_nodes(0, size)}
        marks = ", ".join([self._mark] * len(places))
        query = f"SELECT sequence, hashes FROM {EVENT.name} WHERE sequence IN ({marks})"
        stored = dict(cursor.execute(query, tuple(places)).fetchall())
        frontier: Frontier = []
        for place, node in places.items():
            hashes = stored.get(place)
            value = hashes[32 * node[0] :][:32] if isinstance(hashes, bytes) else b""
            if len(value) != 32:
                raise AppendError("the hashes of the audit trail are incomplete; verify the trail")
            frontier.append((node, value))
        return frontier
