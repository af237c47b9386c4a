"""How rows of the trail are shown: for a person, as JSON, as CSV. What was recorded is data, never markup."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from audit import ReadError
from audit.export import guarded
from audit.merkle import leaf_hash
from audit.rows import Row, read_row, write_time
from audit.schema import BODY_COLUMNS

_COLUMNS = ("recorded", "agent", "action", "subject", "outcome", "verdict", "confidence", "state")
_WIDEST_CELL = 64
"""Characters: a SHA-256 digest."""


def describe(row: Row) -> dict[str, Any]:
    """A row as `--json` prints it.

    Its `state` is `recorded`; `altered`, where body, columns and hash contradict each other; or `archived` or
    `malformed`, and then the columns stand in for the body. Only `verify` looks at more than one row.
    """
    try:
        event = read_row(row)
    except ReadError:
        state = "archived" if row.body is None else "malformed"
        kept = {name: value for name, value in row._asdict().items() if name not in ("body", "hashes")}
        leaf = row.hashes[:32].hex() if isinstance(row.hashes, bytes) else None
        plain = {name: value if _is_plain(value) else repr(value) for name, value in kept.items()}
        return {**plain, "entity": None, "hash": leaf, "state": state}
    described = {**asdict(event), "recorded": write_time(event.recorded)}
    repeated = all(described[name] == getattr(row, name) for name in BODY_COLUMNS)
    sound = repeated and leaf_hash(str(row.body).encode()).hex() == event.hash
    return {**described, "state": "recorded" if sound else "altered"}


def print_rows(rows: Iterable[Row], *, as_json: bool, as_csv: bool) -> None:
    """Print rows, one a line for a person."""
    described = [describe(row) for row in rows]
    if as_json:
        print_json(described)
    elif as_csv:
        texts = [{**row, "entity": json.dumps(row["entity"], ensure_ascii=False)} for row in described]
        names = [*Row._fields[:-2], "entity", "hash", "state"]
        print_csv(names, [[row.get(name) for name in names] for row in texts])
    else:
        cells = [[row["sequence"], *(_cell(row, name) for name in _COLUMNS)] for row in described]
        print_table(("#", "recorded (UTC)", *_COLUMNS[1:-1], ""), cells)


def print_event(row: Row) -> None:
    """Print everything that one row holds, for a person."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")  # an ellipsis would cut digests short
    for name, value in describe(row).items():
        if value is not None:
            shown = json.dumps(value, indent=2, ensure_ascii=False) if name == "entity" else str(value)
            table.add_row(name, visible(shown))
    console().print(table)


def print_table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print cells in columns; where they are too wide, the terminal wraps, and identifiers stay whole."""
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold", max_width=_WIDEST_CELL)
    for row in rows:
        table.add_row(*("" if value is None else visible(str(value)) for value in row))
    console(width=_WIDEST_CELL * len(names)).print(table)


def print_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print comma-separated values (RFC 4180), guarded like those of `audit.export`."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows([guarded(value) for value in row] for row in rows)
    typer.echo(text.getvalue().encode("utf-8", "backslashreplace"), nl=False)


def print_json(value: Any) -> None:
    """Print a value as JSON that no terminal is steered by."""
    typer.echo(json.dumps(value, indent=2))


def visible(text: str) -> str:
    """Escape what would steer the terminal or reorder the line instead of being seen."""
    return "".join(sign if sign.isprintable() or sign == "\n" else f"\\u{ord(sign):04x}" for sign in text)


def console(*, width: int | None = None) -> Console:
    """Where a person reads; without markup, emoji codes and highlighting. By default as wide as it is."""
    return Console(markup=False, emoji=False, highlight=False, width=width)


def _cell(row: dict[str, Any], name: str) -> Any:
    value = row[name]
    if name == "recorded":
        return str(value)[:19].replace("T", " ")
    if name == "confidence" and isinstance(value, float):
        return f"{value:.2f}"
    return "" if (name, value) == ("state", "recorded") else value


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)
