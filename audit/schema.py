"""The tables of a trail; `migrations` makes them, `guards` protects them.

Row n of `event` is leaf n - 1 of an RFC 6962 tree. Its `hashes` are those of every perfect subtree that the
leaf completes, 32 bytes each, the leaf's own first: node (level, index) stands in row (index + 1) * 2^level,
so that an append is one INSERT, and a proof reads one row a node.
"""

from typing import Any, cast

import sqlalchemy as sa

# Compared byte by byte in every database, whatever its locale.
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

metadata = sa.MetaData()

EVENT = sa.Table(
    "event",
    metadata,
    sa.Column("sequence", _NUMBER, primary_key=True, autoincrement=False),
    # These repeat the body, for searching.
    sa.Column("recorded", _TEXT, nullable=False),
    sa.Column("agent", _TEXT, nullable=False),
    sa.Column("action", _TEXT, nullable=False),
    sa.Column("subject", _TEXT, nullable=False),
    sa.Column("outcome", _TEXT, nullable=False),
    sa.Column("source", _TEXT),
    sa.Column("role", _TEXT),
    sa.Column("patient", _TEXT),
    sa.Column("study", _TEXT),
    sa.Column("model", _TEXT),
    sa.Column("verdict", _TEXT),
    sa.Column("confidence", sa.Double),
    # The canonical content that the leaf hash covers; null once it was moved to an archive.
    sa.Column("body", _TEXT),
    sa.Column("hashes", sa.LargeBinary, nullable=False),
)

CHECKPOINT = sa.Table(
    "checkpoint",
    metadata,
    sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
    sa.Column("size", _NUMBER, nullable=False),
    sa.Column("note", _TEXT, nullable=False),
)

ARCHIVE = sa.Table(
    "archive",
    metadata,
    sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
    sa.Column("first", _NUMBER, nullable=False),
    sa.Column("last", _NUMBER, nullable=False),
    sa.Column("sha256", _TEXT, nullable=False),
    sa.Column("note", _TEXT, nullable=False),
)

SEARCHED = ("agent", "action", "subject", "patient", "study", "model", "verdict", "confidence")
"""Columns that have an index of their own, beside `recorded`: with the sequence, so that it sorts as well."""

_UNSUCCESSFUL = sa.text("outcome <> 'success'")

INDEXES = (
    sa.Index("event_by_recorded", EVENT.c.recorded),
    *(
        sa.Index(
            f"event_by_{name}",
            EVENT.c[name],
            EVENT.c.sequence,
            sqlite_where=EVENT.c[name].is_not(None) if EVENT.c[name].nullable else None,
            postgresql_where=EVENT.c[name].is_not(None) if EVENT.c[name].nullable else None,
        )
        for name in SEARCHED
    ),
    # Nearly every event is a success: the others are few, and cost an append nothing.
    sa.Index(
        "event_by_outcome",
        EVENT.c.outcome,
        EVENT.c.sequence,
        sqlite_where=_UNSUCCESSFUL,
        postgresql_where=_UNSUCCESSFUL,
    ),
)

BODY_COLUMNS = tuple(
    column.name for column in EVENT.columns if column.name not in ("sequence", "body", "hashes")
)
"""Columns that repeat a field of the body; with the entity, they are all of it."""

_RAW: list[Any] = [sa.type_coerce(column, sa.types.NullType()) for column in EVENT.columns]

AS_HELD = cast("sa.Select[Any]", sa.select(*_RAW).select_from(EVENT))
"""Every value as the database holds it: column types would fail on what tampering may have left."""
