"""`medvqa audit`: list, show and verify what the trail recorded."""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from audit import Event, Filter, Log, ReadError, Verification
from medvqa.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="List, show and verify what the audit trail recorded.")

AuditOption = Annotated[
    str | None,
    typer.Option(
        "--audit",
        metavar="URL",
        help="The trail: a path or an SQLAlchemy URL; else MEDVQA_AUDIT_URL, medvqa.toml, your own trail.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@app.command("list", epilog="Example: medvqa audit list --action review --limit 5")
def list_events(
    *,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many events.")] = 20,
    action: Annotated[str | None, typer.Option(help="Show only events of this action.")] = None,
    as_json: JsonOption = False,
    audit: AuditOption = None,
) -> None:
    """List the latest events, the newest first."""
    with _open(audit) as log:
        events = list(log.read(Filter(action=action), limit=limit, newest_first=True))
    if as_json:
        _print_json([_to_json(event) for event in events])
        return
    table = Table("#", "recorded (UTC)", "agent", "action", "subject", box=None, pad_edge=False)
    for event in events:
        moment = f"{event.recorded:%Y-%m-%d %H:%M:%S}"
        cells = (str(event.sequence), moment, event.agent, event.action, event.subject)
        table.add_row(*map(_visible, cells))
    _console().print(table)


@app.command(epilog="Example: medvqa audit show 12")
def show(
    reference: Annotated[str, typer.Argument(help="A row's number, or an answer id.")],
    *,
    as_json: JsonOption = False,
    audit: AuditOption = None,
) -> None:
    """Show one event in full, or all events about one answer."""
    is_row = reference.isdecimal() and len(reference) < 19  # what an SQLite integer holds
    wanted: dict[str, Any] = {"sequence": int(reference)} if is_row else {"subject": reference}
    with _open(audit) as log:
        events = list(log.read(Filter(**wanted)))
    if not events:
        raise ReadError(f"the audit trail holds no event {reference}; see `medvqa audit list`")
    if as_json:
        _print_json([_to_json(event) for event in events])
        return
    for event in events:
        _print_event(event)


@app.command(epilog="Example: medvqa audit verify --head 5f0c...e1 (64 digits that you noted earlier)")
def verify(
    *,
    as_json: JsonOption = False,
    audit: AuditOption = None,
) -> None:
    """Recompute the whole trail and name each row that was altered, deleted, moved or slipped in.

    Exits with 0 if the trail is intact, 1 if not, 7 if it cannot be read.

    A chain alone cannot show that its end was cut off or that it was
    rewritten as a whole: note the printed head elsewhere, and give it as
    --head next time.
    """
    with _open(audit) as log, _progress() as report:
        result = log.verify(on_progress=report)
    if as_json:
        _print_json(
            {
                "intact": result.intact,
                "events": result.events,
                "root": result.root,
                "problems": [
                    {
                        "kind": found.kind,
                        "sequence": found.sequence,
                        "field": found.field,
                        "message": found.message,
                    }
                    for found in result.problems
                ],
            }
        )
    else:
        _print_verification(result)
    if not result.intact:
        raise typer.Exit(1)


def _open(url: str | None) -> Log:
    # Only recording creates a trail: a mistyped path must not verify as an empty, intact one.
    return Log(load_settings(audit_url=url).audit_url, create=False)


@contextmanager
def _progress() -> Generator[Callable[[int, int], None]]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("verifying", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _print_event(event: Event) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")  # an ellipsis would cut digests short
    for name, value in _to_json(event).items():
        shown = json.dumps(value, indent=2, ensure_ascii=False) if name == "entity" else str(value)
        table.add_row(name.replace("_", " "), _visible(shown))
    _console().print(table)


def _print_verification(result: Verification) -> None:
    console = _console()
    for problem in result.problems:
        console.print(problem.message, style="red", soft_wrap=True)
    console.print(f"{'intact' if result.intact else 'NOT intact'}: {result.events} events")
    console.print(f"root {result.root}", soft_wrap=True)


def _visible(text: str) -> str:
    """Escape what would steer the terminal or reorder the line instead of being seen."""
    return "".join(sign if sign.isprintable() or sign == "\n" else f"\\u{ord(sign):04x}" for sign in text)


def _to_json(event: Event) -> dict[str, Any]:
    return {
        "sequence": event.sequence,
        "recorded": event.recorded.isoformat(),
        "agent": event.agent,
        "action": event.action,
        "subject": event.subject,
        "entity": event.entity,
        "hash": event.hash,
    }


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))


def _console() -> Console:
    # What was recorded is data: no markup, no emoji codes, no highlighting.
    return Console(markup=False, emoji=False, highlight=False)
