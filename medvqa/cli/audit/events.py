"""`medvqa audit list`, `search` and `show`: what the trail recorded."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from audit import ReadError
from medvqa.cli.audit.opening import opened
from medvqa.cli.audit.options import (
    AuditOption,
    CsvOption,
    FilterOptions,
    JsonOption,
    PageOptions,
    spread,
    wanted,
)
from medvqa.cli.audit.printing import print_event, print_rows

_LARGEST_ROW = 2**63 - 1


@spread
def list_events(
    *,
    matching: FilterOptions,
    page: PageOptions,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    audit: AuditOption = None,
) -> None:
    """List events, the newest first.

    Example: medvqa audit list --since 7d --action review --disputed
    """
    _print_page("list", {}, matching, page, as_json=as_json, as_csv=as_csv, audit=audit)


@spread
def search(
    text: Annotated[str, typer.Argument(help="Occurs somewhere in the event; ASCII letters in either case.")],
    *,
    matching: FilterOptions,
    page: PageOptions,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    audit: AuditOption = None,
) -> None:
    """List events that hold a text. The text itself is recorded: it says what was looked for.

    Example: medvqa audit search "left lung" --since 2026-01-31

    Bodies that were moved to archives are not searched.
    """
    _print_page("search", {"text": text}, matching, page, as_json=as_json, as_csv=as_csv, audit=audit)


@spread
def show(
    reference: Annotated[
        str, typer.Argument(metavar="ROW|ANSWER_ID", help="A row's number, or an answer id.")
    ],
    *,
    matching: FilterOptions,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    audit: AuditOption = None,
) -> None:
    """Show one event in full, or all events about one answer.

    Example: medvqa audit show 12
    """
    is_row = reference.isascii() and reference.isdecimal() and int(reference) <= _LARGEST_ROW
    about: dict[str, Any] = {"sequence": int(reference)} if is_row else {"subject": reference}
    with opened(audit) as trail:
        rows = list(trail.log.read_rows(wanted(matching, **about)))
        trail.record_reading("show", {"reference": reference, **matching.given()}, {"events": len(rows)})
    if not rows:
        raise ReadError(f"the audit trail holds no event {reference}; see `medvqa audit list`")
    if as_json or as_csv:
        print_rows(rows, as_json=as_json, as_csv=as_csv)
        return
    for row in rows:
        print_event(row)


def _print_page(
    command: str,
    about: dict[str, Any],
    matching: FilterOptions,
    page: PageOptions,
    *,
    as_json: bool,
    as_csv: bool,
    audit: str | None,
) -> None:
    given = {**about, **matching.given(), **asdict(page)}
    with opened(audit) as trail:
        found = trail.log.read_rows(
            wanted(matching, **about), after=page.after, limit=page.limit + 1, newest_first=page.newest
        )
        rows = list(found)
        more, rows = len(rows) > page.limit, rows[: page.limit]
        trail.record_reading(command, given, {"events": len(rows)})
    print_rows(rows, as_json=as_json, as_csv=as_csv)
    if more:
        typer.echo(f"More events follow: continue with --after {rows[-1].sequence}", err=True)
