"""`medvqa report`: what the trail holds about a study, as a file; or many studies asked and reported on."""

import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

import medvqa
from audit import Log
from medvqa.assistant import open_study
from medvqa.batch import Batch, Progress, find_studies
from medvqa.batch.folder import BatchFolder
from medvqa.cli.opening import open_assistant, quieten_libraries
from medvqa.cli.options import AdapterOption, AuditOption
from medvqa.cli.progress import follow_batch
from medvqa.question_sets import read_question_set
from medvqa.reports import FORMS, Form, compose, form_of, issue, read_template, remake_heatmaps
from medvqa.sessions import begin_configured_session
from medvqa.settings import Settings, load_settings
from medvqa.types import NOT_FOR_DIAGNOSIS

_ENDINGS = ", ".join(kind.suffix for kind in FORMS.values())
_NAMED = 20
"""Studies of which nothing came that are named on the screen; the table names all."""


def report(
    studies: Annotated[
        list[Path], typer.Argument(help="DICOM, PNG or JPEG files, folders, ZIP archives, or CSV lists.")
    ],
    *,
    out: Annotated[
        Path, typer.Option(metavar="PATH", help=f"Of one study a file ({_ENDINGS}); of a batch a folder.")
    ],
    questions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Ask these about every study first: a question a line, or TOML."),
    ] = None,
    form: Annotated[
        list[str] | None,
        typer.Option(help=f"Of a batch's reports, as often as wanted: {', '.join(FORMS)}. [html, json]"),
    ] = None,
    template: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your own layout of .html; see docs/reports.md.")
    ] = None,
    heatmaps: Annotated[
        bool, typer.Option("--heatmaps", help="Of one study: make heatmaps again, by the settings' model.")
    ] = False,
    model: Annotated[str | None, typer.Option(help="Folder, hub name, server; or the shipped one.")] = None,
    adapter: AdapterOption = None,
    together: Annotated[int, typer.Option(min=1, help="Studies that a process answers together.")] = 8,
    actors: Annotated[
        int | None, typer.Option(min=1, help="Processes with a model; else one a GPU, or one a core.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster; else this machine.")] = None,
    audit: AuditOption = None,
) -> None:
    """Report what the trail holds about a study; with --questions, ask many studies first and report on each.

    Examples: medvqa report scan.dcm --out report.pdf

    medvqa report incoming/ --questions questions.txt --out reports

    A report is preliminary until every answer is signed. What a person rejected, or the checks call doubtful
    and nobody agreed with, is struck out. A batch that was stopped goes on where it was when the same command
    is given again; a study that cannot be read is named at the end and stops no other.
    """
    quieten_libraries()
    settings = load_settings(
        audit_url=audit,
        model=model,
        adapter=adapter,
        report_template=None if template is None else str(template),
    )
    if questions is None:
        if len(studies) > 1:
            raise typer.BadParameter(
                "without --questions there is one study; name one, or a question set", param_hint="STUDIES"
            )
        _report_one(settings, studies[0], out, heatmaps=heatmaps, templated=template is not None)
        return
    unknown = [one for one in form or () if one not in FORMS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(FORMS)}", param_hint="--form")
    chosen: Sequence[Form] = [one for one in FORMS if one in (form or ("html", "json"))]
    asked = read_question_set(questions)
    found = find_studies(studies)
    begin_configured_session(Log(settings.audit_url), settings)
    batch = Batch(
        settings=settings,
        questions=asked,
        folder=out,
        forms=tuple(chosen),
        together=together,
        actors=actors,
        address=address,
    )
    console = Console(stderr=True)
    started = time.monotonic()
    with follow_batch(console) as show:
        ended = medvqa.run_batch(batch, found.studies, on_progress=show)
    _summarise(console, ended, batch, left_out=found.left_out, seconds=time.monotonic() - started)
    if ended.failed:
        raise typer.Exit(medvqa.BatchError.exit_code)


def _report_one(settings: Settings, study: Path, out: Path, *, heatmaps: bool, templated: bool) -> None:
    form = form_of(out)
    if form is None:
        raise typer.BadParameter(f"{out.name} ends in none of {_ENDINGS}", param_hint="--out")
    if templated and form != "html":
        raise typer.BadParameter(f"a template writes .html, not {out.name}", param_hint="--template")
    # There is nothing to report from a trail that does not exist yet.
    log = Log(settings.audit_url, create=False)
    template = settings.report_template
    layout = read_template(template) if form == "html" and template is not None else None
    session = begin_configured_session(log, settings)
    opened = open_study(session, study)
    maps = remake_heatmaps(open_assistant(settings, session), opened) if heatmaps else None
    composed = compose(session, opened, heatmaps=maps)
    issued = issue(session, composed, form, template=layout)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(issued.content)
    except OSError as error:
        raise typer.BadParameter(
            f"{out} cannot be written to: {error.strerror}", param_hint="--out"
        ) from error
    typer.echo(f"{composed.status} report of {len(composed.statements)} answers: {out}")
    typer.echo(f"recorded as row {issued.sequence}, SHA-256 {issued.sha256}")


def _summarise(console: Console, ended: Progress, batch: Batch, *, left_out: int, seconds: float) -> None:
    """What a person wants to know at the end: how much was done, and which studies were not."""
    console.print(
        f"{ended.answered} of {ended.total} studies answered and reported in {batch.folder}, "
        f"{ended.refused} refused, {ended.failed} failed; {seconds:.0f} s"
    )
    bad = (one for one in BatchFolder(path=batch.folder).outcomes() if one["status"] != "answered")
    for one in islice(bad, _NAMED):
        console.print(f"  {one['status']}: {escape(one['source'])}: {escape(one['reason'])}")
    if ended.refused + ended.failed > _NAMED:
        console.print(f"  and {ended.refused + ended.failed - _NAMED} more: see studies.parquet")
    if left_out:
        console.print(f"{left_out} files beside the studies belong to none and were left out")
    console.print(f"[dim]{NOT_FOR_DIAGNOSIS}[/]")
