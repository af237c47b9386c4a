"""`medvqa audit archive`: move old bodies to signed files."""

from pathlib import Path
from typing import Annotated

import typer

from audit import archives
from audit.rotation import load_current_key
from medvqa.cli.audit.opening import opened
from medvqa.cli.audit.options import AuditOption, read_time


def archive(
    *,
    before: Annotated[
        str, typer.Option(metavar="TIME", help="Events before then: 2026-01-31, or so long ago: 2600w.")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the archive file goes.")],
    audit: AuditOption = None,
) -> None:
    """Move the bodies of old events to a signed file; the trail still verifies, with the file and without it.

    Example: medvqa audit archive --before 2020-01-01 --out /srv/archives

    What was moved is no longer in the trail: keep the file as long as the law asks.
    """
    moment = read_time(before, option="--before")
    with opened(audit) as trail:
        key = load_current_key(trail.log, trail.key_path)
        agent, role = trail.settings.agent, trail.settings.role
        moved = archives.archive(trail.log, before=moment, folder=out, key=key, agent=agent, role=role)
    typer.echo(f"{moved.path} holds the bodies of rows {moved.first} to {moved.last}.")
    typer.echo(f"sha256 {moved.sha256}")
