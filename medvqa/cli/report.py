"""`medvqa report`: a study's answers and what people made of them, as a file."""

from pathlib import Path
from typing import Annotated, cast

import typer

from audit import Log
from medvqa.assistant import open_study
from medvqa.cli.opening import quieten_libraries
from medvqa.cli.options import AuditOption, StudyArgument
from medvqa.reports import FORMS, Form, compose, issue
from medvqa.sessions import begin_configured_session
from medvqa.settings import load_settings


def report(
    study: StudyArgument,
    *,
    out: Annotated[Path, typer.Option(help="Write the report here: a name that ends in .pdf or .html.")],
    audit: AuditOption = None,
) -> None:
    """Report what the trail holds about a study: answers, checks, reviews and signatures, with the images.

    Example: medvqa report scan.dcm --out report.pdf

    It is preliminary until every answer is signed. What a person rejected, or the checks call doubtful and
    nobody agreed with, is struck out.
    """
    form = out.suffix.lower().removeprefix(".")
    if form not in FORMS:
        raise typer.BadParameter(f"{out.name} ends in neither .pdf nor .html", param_hint="--out")
    quieten_libraries()
    settings = load_settings(audit_url=audit)
    # There is nothing to report from a trail that does not exist yet.
    session = begin_configured_session(Log(settings.audit_url, create=False), settings)
    composed = compose(session, open_study(session, study))
    issued = issue(session, composed, cast("Form", form))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(issued.content)
    except OSError as error:
        raise typer.BadParameter(
            f"{out} cannot be written to: {error.strerror}", param_hint="--out"
        ) from error
    typer.echo(f"{composed.status} report of {len(composed.statements)} answers: {out}")
    typer.echo(f"recorded as row {issued.sequence}, SHA-256 {issued.sha256}")
