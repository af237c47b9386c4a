"""`medvqa audit verify`: recompute the trail and say what is wrong with it."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from audit import CheckpointError, Problem, Verification
from audit.archives import Archived, check_archive, read_archive
from audit.keys import VerifierKey, read_vkeys
from medvqa.cli.audit.files import read_note
from medvqa.cli.audit.opening import Trail, opened
from medvqa.cli.audit.options import AuditOption, JsonOption
from medvqa.cli.audit.printing import console, print_json
from medvqa.errors import RecordError
from medvqa.signing_keys import trusted_keys

_OF_CHECKPOINTS = {"tail", "history", "forged_checkpoint", "foreign_key"}

FilesOption = Annotated[
    list[Path] | None, typer.Option("--checkpoint", metavar="FILE", help="A checkpoint kept elsewhere.")
]
ArchivesOption = Annotated[
    list[Path] | None, typer.Option("--archive", metavar="FILE", help="An archive, to check its bodies too.")
]
KeysOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Public keys, one a line; else those beside your key.")
]


def verify(
    *,
    checkpoints: FilesOption = None,
    archives: ArchivesOption = None,
    keys: KeysOption = None,
    as_json: JsonOption = False,
    audit: AuditOption = None,
) -> None:
    """Recompute the whole trail and name each row that was altered, deleted, moved or slipped in.

    Example: medvqa audit verify --checkpoint checkpoint.txt --keys audit.vkeys

    Exits with 0 if the trail is intact, 1 if not, 7 if it cannot be read.

    Rows that no checkpoint covers could have been cut off or rewritten as a whole: only
    a checkpoint that was kept elsewhere shows that they were not.
    """
    with opened(audit) as trail, _progress() as report:
        notes = [read_note(path) for path in checkpoints or []]
        known = read_vkeys(keys) if keys else trusted_keys(trail.settings.key_folder)
        readable, broken = _check_archives(archives or [], known)
        result = trail.log.verify(
            keys=known,
            checkpoints=notes,
            archived=chain.from_iterable(read_archive(found.path, keys=known) for found in readable),
            on_progress=report,
        )
        result = replace(result, intact=result.intact and not broken, problems=(*result.problems, *broken))
        kept = bool(notes or trail.log.checkpoints())
    _record(trail, result, {"checkpoints": len(notes), "archives": len(archives or [])})
    if kept and not known:
        typer.echo("No public keys are known here, so checkpoints prove nothing: give --keys FILE.", err=True)
    if as_json:
        print_json({**asdict(result), "uncovered": result.events - result.covered})
    else:
        _print_verification(result)
    if not result.intact:
        raise typer.Exit(1)


def _check_archives(
    paths: Sequence[Path], keys: Sequence[VerifierKey]
) -> tuple[list[Archived], list[Problem]]:
    """The archives that hold, by ascending rows, and what is wrong with the others."""
    readable: list[Archived] = []
    broken: list[Problem] = []
    for path in paths:
        try:
            readable.append(check_archive(path, keys=keys))
        except CheckpointError as error:
            broken.append(Problem(kind="archive", sequence=None, field=None, message=str(error)))
    return sorted(readable, key=lambda found: found.first), broken


def _record(trail: Trail, result: Verification, given: dict[str, Any]) -> None:
    found = {"intact": result.intact, "events": result.events, "problems": len(result.problems)}
    try:
        trail.record_reading("verify", given, {**found, "root": result.root})
    except RecordError as error:
        # A trail may be too broken to take an event: then silence would serve whoever broke it.
        if result.intact:
            raise
        typer.echo(f"This verification was not recorded: {error}", err=True)


@contextmanager
def _progress() -> Generator[Callable[[int, int], None]]:
    shown = Console(stderr=True)
    with Progress(console=shown, transient=True, disable=not shown.is_terminal) as progress:
        task = progress.add_task("verifying", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _print_verification(result: Verification) -> None:
    out = console()
    for problem in result.problems:
        out.print(problem.message, style="red", soft_wrap=True)
    out.print(f"{'intact' if result.intact else 'NOT intact'}: {result.events} events")
    if result.archived:
        out.print(f"{result.archived} bodies stand in archives that were not given", soft_wrap=True)
    out.print(f"root {result.root}", soft_wrap=True)
    out.print(_coverage(result), soft_wrap=True)


def _coverage(result: Verification) -> str:
    after = result.events - result.covered
    if result.covered:
        held, came = _count(result.checkpoints, "checkpoint"), _count(after, "row")
        verb = "covers" if result.checkpoints == 1 else "cover"
        return f"{held} {verb} rows 1 to {result.covered}; {came} came after"
    if result.checkpoints or any(problem.kind in _OF_CHECKPOINTS for problem in result.problems):
        return "no checkpoint that holds covers a row: all could have been rewritten"
    return "no checkpoint covers a row: all could have been rewritten; see `medvqa audit checkpoint`"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
