"""`medvqa listen`: studies that others send are answered, and the results sent on."""

import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from audit import Log
from medvqa.cli.opening import open_assistant, quieten_libraries
from medvqa.cli.options import AdapterOption, AuditOption
from medvqa.cli.pacs import quieten_pacs_libraries
from medvqa.dicom.sources import DEFAULT_LIMITS
from medvqa.listening.answering import Desk
from medvqa.listening.inbox import opened
from medvqa.listening.serving import Address, listen
from medvqa.long_work import LongWork
from medvqa.pacs_nodes import DimseNode, is_ae_title, named_node
from medvqa.question_sets import read_question_set
from medvqa.sessions import begin_configured_session
from medvqa.settings import Settings, load_settings


def listen_for_studies(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")],
    questions: Annotated[Path, typer.Option(help="The question set: text with one a line, or a .toml.")],
    folder: Annotated[Path, typer.Option(help="Folder that keeps what comes, and what came of it.")],
    aet: Annotated[str, typer.Option(help="Our AE title.")] = "MEDVQA",
    host: Annotated[str, typer.Option(help="Address of this machine to listen at.")] = "127.0.0.1",
    accept_from: Annotated[
        str | None,
        typer.Option(metavar="AET,...", help="Who may send; else the DIMSE nodes of medvqa.toml."),
    ] = None,
    send_to: Annotated[
        str | None, typer.Option(metavar="NODE", help="PACS that gets the results: a table [pacs.NODE].")
    ] = None,
    quiet: Annotated[
        float, typer.Option(min=0, help="Seconds without a new instance after which a study is complete.")
    ] = 30.0,
    model: Annotated[str | None, typer.Option(help="Folder, hub name, server; or the shipped one.")] = None,
    adapter: AdapterOption = None,
    audit: AuditOption = None,
) -> None:
    """Take studies that known callers send (C-STORE), ask the question set about each, send the results on.

    Example: medvqa listen --port 11112 --questions questions.toml --folder inbox --send-to archive

    What was received and not answered when it stops is answered by the next start. Stop it with Ctrl+C.
    """
    quieten_libraries()
    quieten_pacs_libraries()
    settings = load_settings(audit_url=audit, model=model, adapter=adapter)
    asked = read_question_set(questions)
    address = Address(aet=_title(aet, "--aet"), host=host, port=port, callers=_callers(accept_from, settings))
    destination = None if send_to is None else named_node(settings.pacs, send_to)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("medvqa.listening").setLevel(logging.INFO)
    work = LongWork()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: work.cancel())

    def began(listening_at: int) -> None:
        typer.echo(f"listening as {aet} at {host} port {listening_at} for {', '.join(address.callers)}")

    with opened(folder) as inbox:
        session = begin_configured_session(Log(settings.audit_url), settings)
        assistant = open_assistant(settings, session)
        desk = Desk(assistant=assistant, questions=asked, inbox=inbox)
        listen(desk, address, quiet=quiet, send_to=destination, limits=DEFAULT_LIMITS, work=work, began=began)
    typer.echo("stopped")


def _callers(accept_from: str | None, settings: Settings) -> list[str]:
    if accept_from is None:
        known = [node.aet for node in settings.pacs.values() if isinstance(node, DimseNode)]
    else:
        known = [_title(part.strip(), "--accept-from") for part in accept_from.split(",")]
    if not known:
        raise typer.BadParameter("say whose AE titles may send", param_hint="--accept-from")
    return list(dict.fromkeys(known))


def _title(text: str, option: str) -> str:
    if not is_ae_title(text):
        raise typer.BadParameter(f"{text!r} is no AE title of 1 to 16 characters", param_hint=option)
    return text
