"""`medvqa audit replay`: compute a recorded answer again, and say what differs."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from medvqa.cli.audit.opening import opened
from medvqa.cli.audit.options import AuditOption, JsonOption
from medvqa.cli.audit.printing import console, print_json, visible
from medvqa.cli.opening import quieten_libraries
from medvqa.records import Agent
from medvqa.replay import Difference, Replay, replay_answer


def replay(
    reference: Annotated[
        str, typer.Argument(metavar="ROW|ANSWER_ID", help="The answer's row, or the answer's id.")
    ],
    *,
    study: Annotated[Path, typer.Option(help="The file, folder or ZIP archive that holds the image.")],
    model: Annotated[
        str | None, typer.Option(help="Folder or hub name of the model; else the recorded one.")
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(help="Folder or hub name of the adapter; else the recorded one.")
    ] = None,
    as_json: JsonOption = False,
    audit: AuditOption = None,
) -> None:
    """Compute a recorded answer again from what its row pins; say identical, or what differs first.

    Example: medvqa audit replay 12 --study scan.dcm

    Exits with 0 if nothing differs, 1 if something does. The replay is recorded before
    its result is shown. Run `medvqa audit verify` too: a replay checks one row only.
    """
    quieten_libraries()
    with opened(audit) as trail:
        by = Agent(name=trail.settings.agent, role=trail.settings.role)
        found = replay_answer(trail.log, reference, study, model=model, adapter=adapter, by=by)
    if as_json:
        print_json({"identical": found.identical, **asdict(found)})
    else:
        _print(found)
    if not found.identical:
        raise typer.Exit(1)


def _print(found: Replay) -> None:
    out = console()
    if found.identical:
        out.print(f"identical: row {found.row} answers as it was recorded, bit for bit")
        return
    first, *others = found.differences
    out.print(f"NOT identical: the first thing that differs is the {first.what}", style="red", soft_wrap=True)
    _print_difference(first)
    for other in others:
        out.print(f"also differs: {visible(other.what)}")
        _print_difference(other)
    out.print(_judge(found))


def _judge(found: Replay) -> str:
    if found.reproduced is None:
        return "The model was not run: what it would say to this is no replay."
    if found.reproduced:
        return "The output is the recorded one all the same, bit for bit."
    if {"token ids", "text"}.isdisjoint(difference.what for difference in found.differences):
        return "The words are the recorded ones; the numbers are not."
    return "The words are not the recorded ones."


def _print_difference(difference: Difference) -> None:
    out = console()
    for name, value in (("recorded", difference.recorded), ("found", difference.found)):
        out.print(f"  {name:9} {'none' if value is None else visible(value)}", soft_wrap=True)
    if difference.note is not None:
        out.print(f"  {difference.note}", soft_wrap=True)
