"""`medvqa report` of one study, about which nothing is asked: what the trail holds, as a file."""

from pathlib import Path

import typer

from audit import Log
from medvqa.assistant import open_study
from medvqa.cli.opening import open_assistant, quieten_libraries
from medvqa.reports import FORMS, compose, form_of, issue, read_template, remake_heatmaps
from medvqa.sessions import begin_configured_session
from medvqa.settings import Settings


def report_study(settings: Settings, study: Path, out: Path, *, heatmaps: bool, templated: bool) -> None:
    """Write the file that `out` names; `templated` where a template was given with the command."""
    quieten_libraries()
    form = form_of(out)
    if form is None:
        endings = ", ".join(kind.suffix for kind in FORMS.values())
        raise typer.BadParameter(f"{out.name} ends in none of {endings}", param_hint="--out")
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
