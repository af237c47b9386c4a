"""Events as text for others: NDJSON to check against the tree, CSV for spreadsheets, FHIR for systems."""

import csv
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TextIO, TypeAlias

from audit.canonical import canonical_json
from audit.errors import ReadError
from audit.fhir import Resource, Version, audit_event, resources
from audit.log import Log
from audit.query import EVERYTHING, Filter
from audit.rows import Row, read_row
from audit.schema import BODY_COLUMNS
from audit.types import Event

Form: TypeAlias = Literal["ndjson", "csv", "fhir-r4", "fhir-r5"]

COLUMNS = (
    *("sequence", "hash", "archived", "recorded", "source", "agent", "role", "action", "subject", "outcome"),
    *("patient", "study", "model", "verdict", "confidence", "entity"),
)
"""Columns of the CSV form, in order."""

_FORMULA_STARTS = tuple("=+-@\t\r＝＋－＠")
"""What makes a spreadsheet compute a cell instead of showing it (OWASP, CSV Injection)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export wrote."""

    events: int
    archived: int
    """How many of them were written from their columns, since their bodies stand in archives."""
    first: int | None
    """First row written, None for none."""
    last: int | None
    sha256: str
    """Of all that was written, as UTF-8; lower hex."""


def export(log: Log, out: TextIO, *, form: Form, matching: Filter = EVERYTHING) -> Exported:
    r"""Write events by ascending row, in constant memory. That an export happened is the caller's to record.

    - `ndjson`: a line `{"sequence", "hash", "body"}` an event. `body` is text, the canonical JSON as it was
      recorded: the SHA-256 of a zero byte and its UTF-8 bytes is `hash`, the event's leaf in the tree (RFC
      6962, 2.1). Where it stands in an archive it is null, and `archived` holds what the row keeps of it.
    - `csv`: RFC 4180 with a header line and CRLF; `entity` is canonical JSON. A cell that a spreadsheet would
      compute, starting with one of = + - @ (wide ones too), tab or CR, and one that starts with an
      apostrophe, gets an apostrophe in front: taking one off each cell that starts with one restores all.
    - `fhir-r4`, `fhir-r5`: a line of JSON a resource, AuditEvent and, right after it, Provenance where there
      is one. Bulk Data wants a file a type: split by `resourceType`. Archived events have no Provenance.

    Args:
        log: The trail; what is read is not verified.
        out: Text in UTF-8 that leaves line ends as they are: `open(..., newline="", encoding="utf-8")`.
        form: See above.
        matching: Which events.

    Raises:
        ReadError: If a row is malformed, or the database cannot be read. What was written then is incomplete.
        OSError: If `out` cannot be written.
    """
    write_row = _FORMS[form]
    digest = hashlib.sha256()
    events = archived = 0
    first = last = None

    def write(text: str) -> None:
        out.write(text)
        digest.update(text.encode())

    if form == "csv":
        write(_csv_line(COLUMNS))
    for row in log.read_rows(matching):
        write(_rendered(row, write_row))
        events += 1
        archived += row.body is None
        first, last = first or row.sequence, row.sequence
    return Exported(events=events, archived=archived, first=first, last=last, sha256=digest.hexdigest())


def guarded(cell: Any) -> Any:
    """A cell of a CSV that no spreadsheet computes; see `export` for the rule, and for the way back."""
    if isinstance(cell, str) and cell.startswith(("'", *_FORMULA_STARTS)):
        return "'" + cell
    return cell


def _rendered(row: Row, render: Callable[[Row, Event], str]) -> str:
    try:
        event = read_row(row) if row.body is not None else _event_of_columns(row)
        return render(row, event)
    except (TypeError, ValueError) as error:
        raise ReadError(f"row {row.sequence} of the audit trail is malformed; verify the trail") from error


def _event_of_columns(row: Row) -> Event:
    """What an archived row still tells: its columns and its leaf hash."""
    columns: dict[str, Any] = {name: getattr(row, name) for name in BODY_COLUMNS}
    columns["recorded"] = datetime.fromisoformat(row.recorded)
    return Event(**columns, entity={}, sequence=row.sequence, hash=bytes(row.hashes)[:32].hex())


def _ndjson(row: Row, event: Event) -> str:
    line = {"sequence": row.sequence, "hash": event.hash, "body": row.body}
    if row.body is None:
        line["archived"] = {
            name: getattr(row, name) for name in BODY_COLUMNS if getattr(row, name) is not None
        }
    return _json_line(line)


def _csv(row: Row, event: Event) -> str:
    archived = row.body is None
    cells = {name: getattr(event, name) for name in COLUMNS if name not in ("archived", "entity")}
    cells |= {"archived": "yes" if archived else "no", "recorded": event.recorded.isoformat()}
    cells["entity"] = None if archived else canonical_json(event.entity).decode()
    return _csv_line([guarded(cells[name]) for name in COLUMNS])


def _fhir(version: Version) -> Callable[[Row, Event], str]:
    def lines(row: Row, event: Event) -> str:
        made: tuple[Resource, ...] = (
            resources(event, version=version)
            if row.body is not None
            else (audit_event(event, version=version, archived=True),)
        )
        return "".join(map(_json_line, made))

    return lines


_FORMS: dict[Form, Callable[[Row, Event], str]] = {
    "ndjson": _ndjson,
    "csv": _csv,
    "fhir-r4": _fhir("R4"),
    "fhir-r5": _fhir("R5"),
}


def _csv_line(cells: Any) -> str:
    line = io.StringIO(newline="")
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _json_line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"
