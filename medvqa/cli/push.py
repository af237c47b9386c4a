"""`medvqa push`: DICOM files sent to a PACS."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from audit import Log
from medvqa.cli.options import AuditOption
from medvqa.cli.pacs import NodeArgument, quieten_pacs_libraries
from medvqa.errors import PacsError
from medvqa.pacs.pushing import gather, push
from medvqa.pacs_nodes import named_node
from medvqa.sessions import begin_configured_session
from medvqa.settings import load_settings


def push_files(
    node: NodeArgument,
    paths: Annotated[list[Path], typer.Argument(help="DICOM files, and folders that hold some.")],
    *,
    audit: AuditOption = None,
) -> None:
    """Send DICOM files to a PACS, each in the transfer syntax that it has.

    Example: medvqa push archive results/report.dcm studies

    Recorded before anything leaves. Fails if the PACS did not take every instance.
    """
    quieten_pacs_libraries()
    settings = load_settings(audit_url=audit)
    pacs = named_node(settings.pacs, node)
    outgoing, others = gather(paths)
    if others:
        typer.echo(f"{others} files are left out, for they are no DICOM files", err=True)
    session = begin_configured_session(Log(settings.audit_url), settings)
    counts: Counter[str] = Counter()
    for delivery in push(session, pacs, outgoing):
        counts[delivery.outcome] += 1
        why = f": {delivery.reason} ({delivery.status:04X})" if delivery.status else ""
        typer.echo(f"{delivery.instance.sop_instance_uid}  {delivery.outcome}{why}")
    typer.echo(f"{counts['success']} sent, {counts['warning']} with a warning, {counts['failure']} not taken")
    if counts["failure"]:
        raise PacsError(f"the PACS {node} did not take {counts['failure']} of {len(outgoing)} instances")
