"""`medvqa pull`: studies of a PACS, listed or fetched into a folder."""

from pathlib import Path
from typing import Annotated

import typer

from audit import Log
from medvqa.cli.options import AuditOption
from medvqa.cli.pacs import NodeArgument, quieten_pacs_libraries
from medvqa.errors import PacsError
from medvqa.pacs.finding import find
from medvqa.pacs.pulling import pull_study
from medvqa.pacs.queries import DEFAULT_LIMIT, FoundStudy, StudyQuery
from medvqa.pacs_nodes import named_node
from medvqa.pseudonyms import pseudonym
from medvqa.sessions import Session, begin_configured_session
from medvqa.settings import load_settings


def pull_studies(
    node: NodeArgument,
    *,
    out: Annotated[
        Path | None, typer.Option(help="Folder: gets a folder a study, with a file an instance.")
    ] = None,
    study_uid: Annotated[str | None, typer.Option(help="Study Instance UID.")] = None,
    patient_id: Annotated[str | None, typer.Option(help="Patient ID; never recorded in the clear.")] = None,
    accession: Annotated[str | None, typer.Option(help="Accession Number; never recorded.")] = None,
    date: Annotated[str | None, typer.Option(help="Study Date: 20260131, or 20260101-20260131.")] = None,
    modality: Annotated[str | None, typer.Option(help="One of the study's modalities, such as MR.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Studies at most.")] = DEFAULT_LIMIT,
    only_list: Annotated[bool, typer.Option("--list", help="List the studies; fetch nothing.")] = False,
    audit: AuditOption = None,
) -> None:
    """Fetch from a PACS the studies to which all applies that is given.

    Example: medvqa pull archive --modality MR --date 20260101-20260131 --out studies

    What lies in the folder already is not fetched again. The PACS is a table [pacs.NAME] of medvqa.toml.
    """
    if (out is None) != only_list:
        raise typer.BadParameter("give either --out or --list", param_hint="--out")
    query = StudyQuery(
        study_instance_uid=study_uid,
        patient_id=patient_id,
        accession_number=accession,
        study_date=date,
        modality=modality,
        limit=limit,
    )
    if out is not None and not query.restricted_by:
        raise typer.BadParameter(
            "say which studies: --study-uid, --patient-id, --accession, --date or --modality"
        )
    quieten_pacs_libraries()
    settings = load_settings(audit_url=audit)
    pacs = named_node(settings.pacs, node)
    session = begin_configured_session(Log(settings.audit_url), settings)
    found = find(session, pacs, query)
    if len(found) == limit:
        typer.echo(f"the limit of {limit} studies was reached: there may be more; see --limit", err=True)
    missing = 0
    for study in found:
        if out is None:
            typer.echo(_describe(session, study))
            continue
        pulled = pull_study(session, pacs, study, out)
        missing += pulled.missing
        typer.echo(
            f"{pulled.study_instance_uid}: {pulled.fetched} fetched, {pulled.kept} were there,"
            f" {pulled.missing} missing"
        )
    typer.echo(f"{len(found)} studies" + ("" if out is None else f" in {out}"))
    if missing:
        raise PacsError(f"the PACS {node} did not send {missing} instances that it names; pull again")


def _describe(session: Session, study: FoundStudy) -> str:
    patient = "patient unknown" if study.patient is None else pseudonym(session.key, *study.patient.reveal())
    count = "?" if study.instances is None else study.instances
    return f"{study.study_instance_uid}  {patient}  {'/'.join(study.modalities) or '?'}  {count} instances"
