"""`medvqa report`: a study's answers and what people made of them, as a file."""

from pathlib import Path
from typing import Annotated

import typer

from audit import Log
from medvqa.assistant import open_study
from medvqa.cli.opening import open_assistant, quieten_libraries
from medvqa.cli.options import AuditOption, StudyArgument
from medvqa.reports import FORMS, compose, form_of, issue, read_template, remake_heatmaps
from medvqa.sessions import begin_configured_session
from medvqa.settings import load_settings

_ENDINGS = ", ".join(kind.suffix for kind in FORMS.values())


def report(
    study: StudyArgument,
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help=f"Its name ends in one of {_ENDINGS}.")],
    template: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your own layout of .html; see docs/reports.md.")
    ] = None,
    heatmaps: Annotated[
        bool, typer.Option("--heatmaps", help="Make heatmaps again, by the model of the settings.")
    ] = False,
    audit: AuditOption = None,
) -> None:
    """Report what the trail holds about a study: answers, checks, reviews and signatures, with the images.

    Example: medvqa report scan.dcm --out report.pdf

    It is preliminary until every answer is signed. What a person rejected, or the checks call doubtful and
    nobody agreed with, is struck out. .json is medvqa's own form, .fhir.json a FHIR DiagnosticReport (R4).
    """
    form = form_of(out)
    if form is None:
        raise typer.BadParameter(f"{out.name} ends in none of {_ENDINGS}", param_hint="--out")
    if template is not None and form != "html":
        raise typer.BadParameter(f"a template writes .html, not {out.name}", param_hint="--template")
    quieten_libraries()
    settings = load_settings(audit_url=audit, report_template=None if template is None else str(template))
    # There is nothing to report from a trail that does not exist yet.
    log = Log(settings.audit_url, create=False)
    layout = (
        read_template(settings.report_template)
        if form == "html" and settings.report_template is not None
        else None
    )
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
