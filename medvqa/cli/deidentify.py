"""`medvqa deidentify`: copies of studies without whom they are of."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from audit import Log
from medvqa.cli.opening import quieten_libraries
from medvqa.cli.options import AuditOption
from medvqa.deidentification import Deidentified, Option, Order, deidentify, parse_options
from medvqa.errors import DeidentificationError
from medvqa.sessions import begin_configured_session
from medvqa.settings import load_settings


def deidentify_studies(
    study: Annotated[list[Path], typer.Argument(help="DICOM files, folders or ZIP archives.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder for the copies and the report.")],
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"Repeat for several: {', '.join(Option)}."),
    ] = None,
    patient: Annotated[
        str | None, typer.Option(metavar="CODE", help="Code of the patient; else the trail's pseudonym.")
    ] = None,
    map_file: Annotated[
        Path | None,
        typer.Option("--map", metavar="FILE", help="Write the way back: old UIDs and Patient IDs."),
    ] = None,
    audit: AuditOption = None,
) -> None:
    """Write copies of studies without whom they are of: DICOM PS3.15 Annex E, burned-in text masked.

    Example: medvqa deidentify scans --out shared

    The report beside the copies says what was done to each instance and what was not checked. Look at the
    images before you share them: OCR misses text. Ends with code 16 where an object was left out.
    """
    order = Order(out=out, options=parse_options(option or ()), patient=patient, map=map_file)
    settings = load_settings(audit_url=audit)
    quieten_libraries()
    console = Console(stderr=True)
    session = begin_configured_session(Log(settings.audit_url), settings)
    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:.0f}"))
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("instances looked through for text:", total=None)
        done = deidentify(session, study, order, on_instance=lambda: progress.advance(bar))
    _show(done)


def _show(done: Deidentified) -> None:
    report = done.report
    masked = sum(bool(one.regions) for one in report.instances)
    typer.echo(
        f"{len(report.instances)} instances written, {masked} of them masked; report: {done.report_file}"
    )
    typer.echo("OCR misses text: look at the images before you share them.", err=True)
    for name, reason in done.left_out:
        typer.echo(f"left out: {name} {reason}", err=True)
    if done.left_out:
        raise DeidentificationError(
            f"{len(done.left_out)} objects were left out, for they cannot be cleaned; the others are written"
        )
