"""`medvqa audit export`: events for other systems."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from audit.actions import Action
from audit.export import Form
from audit.export import export as write_events
from medvqa.cli.audit.files import new_file
from medvqa.cli.audit.opening import opened
from medvqa.cli.audit.options import AuditOption, FilterOptions, spread, wanted

FORMS: tuple[Form, ...] = get_args(Form)


@spread
def export(
    *,
    form: Annotated[str, typer.Option(help=f"{', '.join(FORMS)}.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the events go.")],
    matching: FilterOptions,
    audit: AuditOption = None,
) -> None:
    """Write events to a file; that it was done, and the file's digest, are recorded before the file is there.

    Example: medvqa audit export --form fhir-r4 --since 30d --out january.ndjson

    fhir-r4 and fhir-r5 are AuditEvent and Provenance, a line each; ndjson gives each
    event as it was recorded, with the hash that ties it to the trail.
    """
    if form not in FORMS:
        raise typer.BadParameter(f"{form!r} is not one of {', '.join(FORMS)}", param_hint="--form")
    with opened(audit) as trail, new_file(out) as file:
        written = write_events(trail.log, file, form=form, matching=wanted(matching))
        found = {"events": written.events, "sha256": written.sha256}
        trail.record_reading("export", {"form": form, **matching.given()}, found, Action.EXPORT)
    typer.echo(f"{out} holds {written.events} events.")
    typer.echo(f"sha256 {written.sha256}")
