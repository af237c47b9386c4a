"""`medvqa perform`: any task about a study."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from audit import Filter, Log
from medvqa.assistant import choose_number, open_study
from medvqa.cli.exporting import write_recorded
from medvqa.cli.opening import open_assistant, quieten_libraries
from medvqa.cli.options import AdapterOption, AuditOption, ImageOption, JsonOption, StudyArgument
from medvqa.sessions import Session, begin_configured_session
from medvqa.settings import load_settings
from medvqa.tasks import TASKS, TaskResult, perform
from medvqa.tasks.drawing import draw
from medvqa.tasks.performing import LONG_ANSWERS
from medvqa.tasks.results import (
    Boxes,
    Caption,
    Classification,
    Comparison,
    Masks,
    Reply,
    StudyReport,
    TextRegions,
    describe_content,
)
from medvqa.types import NOT_FOR_DIAGNOSIS, Image

_LONG_ANSWER = 512
"""Tokens: room for some thirty boxes."""
_SHORT_ANSWER = 32
"""Tokens: as for `medvqa ask`."""


def perform_task(
    task: Annotated[str, typer.Argument(help=f"One of {', '.join(TASKS)}.")],
    study: StudyArgument,
    text: Annotated[
        str | None, typer.Argument(help="The question, what to look for, or the finding to compare.")
    ] = None,
    *,
    prior: Annotated[
        Path | None, typer.Option(help="The earlier study, for compare: a file, a folder or a ZIP archive.")
    ] = None,
    options: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="What to choose from, for classify.")
    ] = None,
    image: ImageOption = None,
    model: Annotated[str | None, typer.Option(help="Folder or hub name; else the shipped model.")] = None,
    adapter: AdapterOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the result (JSON), drawn on its image (PNG), to this folder.")
    ] = None,
    as_json: JsonOption = False,
    audit: AuditOption = None,
) -> None:
    """Do a task about a study; what is asked for and what comes of it are recorded before they show.

    Example: medvqa perform ocr scan.dcm --out read

    A task that the model has no way to do ends with the names of models that have.
    """
    if task not in TASKS:
        raise typer.BadParameter(f"{task!r} is not one of {', '.join(TASKS)}", param_hint="TASK")
    chosen = tuple(one.strip() for one in options.split(",") if one.strip()) if options else ()
    with Console(stderr=True).status("Loading the model and reading the study") as status:
        settings = load_settings(audit_url=audit, model=model, adapter=adapter)
        quieten_libraries()
        session = begin_configured_session(Log(settings.audit_url), settings)
        opened = open_study(session, study)
        earlier = None if prior is None else open_study(session, prior)
        long = task in LONG_ANSWERS and settings.model is not None
        assistant = open_assistant(settings, session, max_new_tokens=_LONG_ANSWER if long else _SHORT_ANSWER)
        status.update(f"Doing the task {task}")
        result = perform(
            opened,
            task,
            text,
            assistant=assistant,
            image_number=image,
            prior=earlier,
            options=chosen,
        )
    described = describe(result)
    if out is not None:
        number, _ = choose_number(len(opened.images), image)
        _write_files(result, described, out, image=opened.images[number - 1], session=session)
    if as_json:
        typer.echo(json.dumps(described, indent=2))
    else:
        show(result, described, console=Console())


def describe(result: TaskResult) -> dict[str, Any]:
    """The result as `--json` prints it."""
    return {
        "result_id": result.result_id,
        "audit_id": result.audit_id,
        "task": result.task,
        "text": result.text,
        "content": describe_content(result.content),
        "answers": [answer.answer_id for answer in result.answers],
        "image": asdict(result.image),
        "prior": None if result.prior is None else asdict(result.prior),
        "model": asdict(result.model),
        "warnings": [asdict(notice) for notice in result.warnings],
        "created": result.created.isoformat(),
        "seconds": round(result.seconds, 3),
        "picture": None,
        "notice": NOT_FOR_DIAGNOSIS,
    }


def show(result: TaskResult, described: dict[str, Any], *, console: Console) -> None:
    """Print a result for a person."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _lines(result):
        table.add_row(escape(name), escape(value))
    if described["picture"] is not None:
        table.add_row("picture", escape(described["picture"]))
    table.add_row("audit", f"row {result.audit_id}: medvqa audit show {result.result_id}")
    table.add_row("time", f"{result.seconds:.1f} s, {escape(result.model.name)}")
    for notice in result.warnings:
        table.add_row(f"[yellow]{notice.code}[/]", escape(notice.message))
    console.print(table)
    console.print(f"[dim]{NOT_FOR_DIAGNOSIS}[/]")


def _lines(result: TaskResult) -> list[tuple[str, str]]:
    """What came of it, line by line."""
    match result.content:
        case Reply(statement=said) | Caption(statement=said):
            return [(result.task, _hedged(said.text, said.abstains)), ("verdict", said.verdict)]
        case StudyReport(sections=sections):
            return [
                (
                    one.heading,
                    f"{_hedged(one.statement.text, one.statement.abstains)} [{one.statement.verdict}]",
                )
                for one in sections
            ]
        case TextRegions(regions=regions):
            read = [(one.kind if one.side is None else f"{one.side} {one.kind}", one.text) for one in regions]
            return read or [("text", "none was read")]
        case Boxes(boxes=boxes):
            found = [
                (one.label, f"rows {one.top:g} to {one.bottom:g}, columns {one.left:g} to {one.right:g}")
                for one in boxes
            ]
            return found or [("boxes", "none: the model said that there is nothing")]
        case Masks(masks=masks):
            outlined = [(one.label, f"{one.pixels} pixels") for one in masks]
            return outlined or [("masks", "none: the model said that there is nothing")]
        case Classification() as weighed:
            shares = zip(weighed.options, weighed.probabilities, strict=True)
            said = [] if weighed.said is None else [("in its own words", weighed.said)]
            return [("chosen", weighed.chosen), *((name, f"{share:.3f}") for name, share in shares), *said]
        case Comparison() as compared:
            shares = f"better {compared.better:.3f}, worse {compared.worse:.3f}"
            return [
                (compared.question, compared.label),
                ("probabilities", f"{shares}, unchanged {compared.unchanged:.3f}; uncalibrated"),
                ("change", f"{compared.change:+.2f} nats of log-odds since the prior"),
            ]


def _hedged(text: str, abstains: bool) -> str:
    return f"I can't tell (the model's guess: {text})" if abstains else text


def _write_files(
    result: TaskResult, described: dict[str, Any], out: Path, *, image: Image, session: Session
) -> None:
    """Write the result, and its picture, to a folder once that is recorded; `described` then names it."""
    contents: dict[str, bytes] = {}
    if (picture := draw(image, result.content)) is not None:
        contents[".png"] = picture
        described["picture"] = str(out / f"{result.result_id}.png")
    contents[".json"] = (json.dumps(described, indent=2) + "\n").encode()
    rows = session.log.read(Filter(subject=result.result_id))
    (recorded,) = (row for row in rows if row.sequence == result.audit_id)
    write_recorded(session, recorded, contents, out)
