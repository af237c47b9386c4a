"""Ways to tamper with a trail whose database is opened behind the library's back, with the drivers alone.

Nothing here uses the library: the hashes that a forger fits in come from the definition in RFC 6962, section
2.1.
"""

# ruff: noqa: S608 - names of tables and columns are the tests' own

import base64
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

TABLES = ("event", "checkpoint", "archive")
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intruder:
    """Someone with a database's own rights, connected past the library."""

    connection: Any
    is_postgresql: bool

    def execute(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        """Run one statement, with `?` for values, and give what it finds."""
        if self.is_postgresql:
            statement = statement.replace("?", "%s")
        cursor = self.connection.execute(statement, tuple(values))
        return cursor.fetchall() if cursor.description else []

    def columns(self, table: str = "event") -> list[str]:
        cursor = self.connection.execute(f"SELECT * FROM {table} WHERE 1 = 0")
        return [column[0] for column in cursor.description]

    def value(self, column: str, row: int) -> Any:
        return self.execute(f"SELECT {column} FROM event WHERE sequence = ?", [row])[0][0]

    def size(self) -> int:
        return self.execute("SELECT count(*) FROM event")[0][0]


@contextmanager
def connected(url: str) -> Iterator[Intruder]:
    """Open a trail's database; all is committed at the end."""
    if url.startswith("postgresql"):
        with psycopg.connect(url) as server:
            server.execute("SET synchronous_commit = off")
            yield Intruder(connection=server, is_postgresql=True)
        return
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as file:
        file.execute("PRAGMA synchronous = OFF")  # these tests write a great many files
        file.execute("BEGIN")
        yield Intruder(connection=file, is_postgresql=False)
        file.execute("COMMIT")


@contextmanager
def unguarded(url: str) -> Iterator[Intruder]:
    """Like `connected`, with the triggers away meanwhile and back at the end, as if nothing had been."""
    with connected(url) as intruder:
        if intruder.is_postgresql:
            found = "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal"
            triggers = intruder.execute(found)
            for table in TABLES:
                intruder.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            yield intruder
            for table, name in triggers:
                intruder.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
            return
        triggers = intruder.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        for name, _ in triggers:
            intruder.execute(f"DROP TRIGGER {name}")
        yield intruder
        for _, statement in triggers:
            intruder.execute(statement)


def loosen(intruder: Intruder) -> None:
    """Take every constraint, and in SQLite every type, from the table of events."""
    columns = intruder.columns()
    if intruder.is_postgresql:
        intruder.execute("ALTER TABLE event DROP CONSTRAINT IF EXISTS event_pkey")
        for column in columns:
            intruder.execute(f"ALTER TABLE event ALTER COLUMN {column} DROP NOT NULL")
        return
    intruder.execute(f"CREATE TABLE rebuilt ({', '.join(columns)})")
    intruder.execute("INSERT INTO rebuilt SELECT * FROM event ORDER BY sequence")
    intruder.execute("DROP TABLE event")
    intruder.execute("ALTER TABLE rebuilt RENAME TO event")


def alter(intruder: Intruder, row: int, **values: object) -> None:
    """Put other values into columns of one row."""
    changes = ", ".join(f"{column} = ?" for column in values)
    intruder.execute(f"UPDATE event SET {changes} WHERE sequence = ?", [*values.values(), row])


def delete(intruder: Intruder, *rows: int) -> None:
    for row in rows:
        intruder.execute("DELETE FROM event WHERE sequence = ?", [row])


def cut(intruder: Intruder, size: int) -> None:
    """Cut the end off, with the checkpoints of the table that would tell."""
    intruder.execute("DELETE FROM event WHERE sequence > ?", [size])
    intruder.execute("DELETE FROM checkpoint WHERE size > ?", [size])


def renumber(intruder: Intruder, row: int, number: int) -> None:
    intruder.execute("UPDATE event SET sequence = ? WHERE sequence = ?", [number, row])


def close_gap(intruder: Intruder, gap: int) -> None:
    """Move every row after a deleted one up by one."""
    for (row,) in intruder.execute("SELECT sequence FROM event WHERE sequence > ? ORDER BY 1", [gap]):
        renumber(intruder, row, row - 1)


def swap(intruder: Intruder, first: int, second: int) -> None:
    for row, number in ((first, 10**6), (second, first), (10**6, second)):
        renumber(intruder, row, number)


def repeat(intruder: Intruder, row: int, number: int, **values: object) -> None:
    """Insert a copy of a row under a number, with other values where given."""
    columns = intruder.columns()
    found = dict(
        zip(columns, intruder.execute("SELECT * FROM event WHERE sequence = ?", [row])[0], strict=True)
    )
    found |= {"sequence": number, **values}
    places = ", ".join("?" * len(columns))
    intruder.execute(f"INSERT INTO event VALUES ({places})", list(found.values()))


def change_body(intruder: Intruder, row: int, **fields: object) -> str:
    """Put other fields into the body of a row, and into the columns that repeat them; gives the new body."""
    content = json.loads(intruder.value("body", row)) | fields
    body = json.dumps(content, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    repeated = {name: value for name, value in fields.items() if name in intruder.columns()}
    alter(intruder, row, body=body, **repeated)
    return body


def rehash(intruder: Intruder, row: int, *, onward: bool = True, whole: bool = True) -> None:
    """Fit the hashes of a row, and with `onward` of all rows after it, to the bodies as they stand.

    Args:
        intruder: Who does it.
        row: The first.
        onward: Whether to the last row.
        whole: Whether the inner nodes too, or the leaves alone.
    """
    found = intruder.execute("SELECT body FROM event ORDER BY sequence")
    leaves = [hashlib.sha256(b"\x00" + body.encode()).digest() for (body,) in found]
    for number in range(row, len(leaves) + 1) if onward else [row]:
        kept = bytes(intruder.value("hashes", number))
        fitting = subtree_hashes(leaves, number)
        alter(intruder, number, hashes=fitting if whole else fitting[:32] + kept[32:])


def subtree_hashes(leaves: Sequence[bytes], row: int) -> bytes:
    """Hashes of all perfect subtrees that a row completes, from its leaf up."""
    widths = [1 << level for level in range(row.bit_length()) if row % (1 << level) == 0]
    return b"".join(tree_root(leaves[row - width : row]) for width in widths)


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, over leaf hashes."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + tree_root(leaves[:split]) + tree_root(leaves[split:])).digest()


def replace_note(intruder: Intruder, number: int, change: Callable[[str], str]) -> str:
    """Put another note into a row of the table of checkpoints; gives it."""
    (note,) = intruder.execute("SELECT note FROM checkpoint WHERE number = ?", [number])[0]
    intruder.execute("UPDATE checkpoint SET note = ? WHERE number = ?", [change(note), number])
    return change(note)


def flip_signature(note: str) -> str:
    """One bit of the last signature, flipped."""
    start, _, encoded = note.rstrip("\n").rpartition(" ")
    signature = bytearray(base64.b64decode(encoded))
    signature[-1] ^= 1
    return f"{start} {base64.b64encode(signature).decode()}\n"


def edit_file(url: str, old: bytes, new: bytes) -> None:
    """Put bytes of the same length in place of others in the file of an SQLite trail, everywhere."""
    path = Path(url.removeprefix("sqlite:///"))
    content = path.read_bytes()
    assert old in content
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new))


def save(intruder: Intruder) -> dict[str, list[Row]]:
    """All rows of all tables, for `restore`."""
    return {table: intruder.execute(f"SELECT * FROM {table} ORDER BY 1") for table in TABLES}


def restore(intruder: Intruder, saved: dict[str, list[Row]]) -> None:
    for table, rows in saved.items():
        intruder.execute(f"DELETE FROM {table}")
        for row in rows:
            intruder.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
