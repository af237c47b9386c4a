"""The Merkle log: events, checkpoints, archives. A hash chain of medvqa 0.1 becomes its first rows."""

import hashlib
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from audit.canonical import canonical_json
from audit.errors import SchemaError
from audit.merkle import Node, grow, leaf_hash

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INDEXED = {
    "agent": False,
    "action": False,
    "subject": False,
    "patient": True,
    "study": True,
    "model": True,
    "verdict": True,
    "confidence": True,
}


def upgrade() -> None:
    """Create the tables; carry over what a hash chain holds, byte for byte."""
    connection = op.get_bind()
    inspector = sa.inspect(connection)
    chained = inspector.has_table("event")
    if chained:
        for name in ("never_updated", "never_deleted", "without_gaps", "chained"):
            op.execute(f"DROP TRIGGER IF EXISTS event_{name}")
        for index in inspector.get_indexes("event"):
            op.drop_index(str(index["name"]), "event")
        op.rename_table("event", "chained_event")
    event = _create_tables()
    if chained:
        _carry_over(connection, event)
        op.drop_table("chained_event")


def _create_tables() -> sa.Table:
    event = op.create_table(
        "event",
        sa.Column("sequence", _NUMBER, primary_key=True, autoincrement=False),
        *(
            sa.Column(name, _TEXT, nullable=False)
            for name in ("recorded", "agent", "action", "subject", "outcome")
        ),
        *(sa.Column(name, _TEXT) for name in ("source", "role", "patient", "study", "model", "verdict")),
        sa.Column("confidence", sa.Double),
        sa.Column("body", _TEXT),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
    )
    op.create_index("event_by_recorded", "event", ["recorded"])
    for name, partial in _INDEXED.items():
        present = sa.text(f"{name} IS NOT NULL") if partial else None
        op.create_index(
            f"event_by_{name}", "event", [name, "sequence"], sqlite_where=present, postgresql_where=present
        )
    unsuccessful = sa.text("outcome <> 'success'")
    op.create_index(
        "event_by_outcome",
        "event",
        ["outcome", "sequence"],
        sqlite_where=unsuccessful,
        postgresql_where=unsuccessful,
    )
    op.create_table(
        "checkpoint",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("size", _NUMBER, nullable=False),
        sa.Column("note", _TEXT, nullable=False),
    )
    op.create_table(
        "archive",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("first", _NUMBER, nullable=False),
        sa.Column("last", _NUMBER, nullable=False),
        sa.Column("sha256", _TEXT, nullable=False),
        sa.Column("note", _TEXT, nullable=False),
    )
    return event


def _carry_over(connection: sa.Connection, event: sa.Table) -> None:
    """Copy the chain's rows, and append one that says which chain they were."""
    frontier: list[tuple[Node, bytes]] = []
    size, before = 0, "0" * 64
    chain = sa.text(
        "SELECT sequence, recorded, agent, action, subject, body, hash FROM chained_event ORDER BY sequence"
    )
    for sequence, recorded, agent, action, subject, body, hash_ in connection.execute(chain).all():
        before = hashlib.sha256(bytes.fromhex(before) + bytes(body)).hexdigest()
        if sequence != size + 1 or hash_ != before:
            raise SchemaError(
                f"row {size + 1} of the audit trail does not continue its hash chain, so the trail was not "
                "upgraded; find out what happened to it, and record in a new one meanwhile"
            )
        fields = {"recorded": recorded, "agent": agent, "action": action, "subject": subject}
        _insert(connection, event, frontier, sequence, fields, bytes(body))
        size = sequence
    fields = {
        "source": "migration 0001",
        "outcome": "success",
        "recorded": datetime.now(UTC).isoformat(timespec="microseconds"),
        "agent": "medvqa",
        "action": "upgrade",
        "subject": "trail",
    }
    entity = {"chained_events": size, "chain_head": before}
    body = canonical_json({**fields, "sequence": size + 1, "entity": entity})
    _insert(connection, event, frontier, size + 1, fields, body)


def _insert(
    connection: sa.Connection,
    event: sa.Table,
    frontier: list[tuple[Node, bytes]],
    sequence: int,
    fields: dict[str, Any],
    body: bytes,
) -> None:
    hashes = grow(frontier, sequence - 1, leaf_hash(body))
    connection.execute(
        event.insert().values(
            **{"outcome": "success", **fields}, sequence=sequence, body=body.decode(), hashes=hashes
        )
    )
