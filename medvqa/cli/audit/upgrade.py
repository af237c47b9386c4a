"""`medvqa audit upgrade`: bring a trail to this version's tables."""

import typer

from audit.database import upgrade as upgrade_tables
from medvqa.cli.audit.options import AuditOption
from medvqa.settings import load_settings


def upgrade(*, audit: AuditOption = None) -> None:
    """Bring a trail that an earlier version made to this version's tables; copy it first.

    Example: medvqa audit upgrade --audit audit.sqlite
    """
    upgrade_tables(load_settings(audit_url=audit).audit_url)
    typer.echo("The trail is of this version.")
