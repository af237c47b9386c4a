"""`medvqa report`: what the trail holds about a study, as a file; or many studies asked and reported on."""

import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.console import Console
from rich.markup import escape

import medvqa
from audit import Log
from medvqa.batch import Batch, Progress, StudySource, find_studies
from medvqa.batch.folder import BatchFolder
from medvqa.batch.sources import PACS
from medvqa.cli.lazy import load_named
from medvqa.cli.options import AdapterOption, AuditOption
from medvqa.cli.progress import follow_batch
from medvqa.question_sets import read_question_set
from medvqa.sessions import Session, begin_configured_session
from medvqa.settings import Settings, load_settings
from medvqa.types import NOT_FOR_DIAGNOSIS, ReportForm

_FORMS = get_args(ReportForm)
_ENDINGS = ".html, .pdf, .json, .fhir.json, .fhir-r5.json"
_NAMED = 20
"""Studies of which nothing came that are named on the screen; the table names all."""


def report(
    studies: Annotated[
        list[str],
        typer.Argument(
            help="DICOM, PNG or JPEG files, folders, ZIP archives, CSV lists, or pacs:NODE?modality=MR."
        ),
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
        typer.Option(help=f"Of a batch's reports, as often as wanted: {', '.join(_FORMS)}. [html, json]"),
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
        # What reads images takes seconds to import; a batch leaves that to its processes.
        report_study = load_named("medvqa.cli.report_study:report_study")
        report_study(settings, Path(studies[0]), out, heatmaps=heatmaps, templated=template is not None)
        return
    unknown = [one for one in form or () if one not in _FORMS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(_FORMS)}", param_hint="--form")
    asked = read_question_set(questions)
    session = begin_configured_session(Log(settings.audit_url), settings)
    found, left_out = _find(session, settings, studies)
    batch = Batch(
        settings=settings,
        questions=asked,
        folder=out,
        forms=tuple(one for one in _FORMS if one in (form or ("html", "json"))),
        together=together,
        actors=actors,
        address=address,
    )
    console = Console(stderr=True)
    started = time.monotonic()
    with follow_batch(console) as show:
        ended = medvqa.run_batch(batch, found, on_progress=show)
    _summarise(console, ended, batch, left_out=left_out, seconds=time.monotonic() - started)
    if ended.failed:
        raise typer.Exit(medvqa.BatchError.exit_code)


def _find(session: Session, settings: Settings, studies: Sequence[str]) -> tuple[list[StudySource], int]:
    """Where the studies are, those of a PACS last, and how many files belong to none."""
    paths = [Path(one) for one in studies if not one.startswith(PACS)]
    found = find_studies(paths) if paths else None
    sources = [] if found is None else [*found.studies]
    for query in studies:
        if query.startswith(PACS):
            find_in_pacs = load_named("medvqa.batch.fetching:find_in_pacs")
            sources += find_in_pacs(session, settings, query)
    return sources, 0 if found is None else found.left_out


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
