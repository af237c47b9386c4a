"""`medvqa serve`: questions over HTTP; `medvqa serve key`: keys for those who ask."""

from pathlib import Path
from typing import Annotated, cast

import typer

from audit import Log
from medvqa.access import PERMISSIONS, Role
from medvqa.cli.lazy import load_named
from medvqa.cli.opening import quieten_libraries
from medvqa.cli.options import AdapterOption, AuditOption
from medvqa.errors import ServiceError
from medvqa.opening import named_model, open_model
from medvqa.service.api_keys import make_key, write_line
from medvqa.service.callers import LOOPBACK, Door
from medvqa.service.running import Certificate, OwnService, listen, run
from medvqa.sessions import begin_configured_session
from medvqa.settings import load_settings

app = typer.Typer(add_completion=False, invoke_without_command=True)


@app.callback()
def serve(
    context: typer.Context,
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8080,
    tls_certificate: Annotated[Path | None, typer.Option(help="Chain of certificates, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    replicas: Annotated[
        int | None, typer.Option(min=1, help="Answer by so many copies of the model, on Ray Serve.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster, for --replicas; else Ray is started here.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Folder, hub name, server; or the shipped one.")] = None,
    adapter: AdapterOption = None,
    audit: AuditOption = None,
) -> None:
    """Answer questions over HTTP, from callers who are known by a key or a token.

    Example: medvqa serve --port 8080

    Stop it with SIGTERM or Ctrl+C: it takes nothing new then, and ends when the last answer is given.
    """
    if context.invoked_subcommand is not None:
        return
    settings = load_settings(audit_url=audit, model=model, adapter=adapter)
    quieten_libraries()
    door = Door(settings, host=host)
    certificate = _certificate(tls_certificate, tls_key)
    if door.is_open:
        _say("nobody has to say who they are: any program of this machine may ask, in the role local")
    elif certificate is None and host not in LOOPBACK:
        _say("keys and images go over the network in the clear; give --tls-certificate and --tls-key")
    if replicas is not None:
        _say(f"starting {replicas} replicas on Ray; then listening on {host}:{port}")
        # Ray takes seconds to import, and is no part of the extra `serve`.
        run_replicas = load_named("medvqa.service.ray_deployment:run_replicas")
        run_replicas(
            settings, host=host, port=port, replicas=replicas, address=address, certificate=certificate
        )
        return
    if address is not None:
        raise ServiceError("--address is that of a Ray cluster; give --replicas with it")
    listening = listen(host, port)
    log = Log(settings.audit_url)
    begin_configured_session(log, settings)
    service = OwnService(open_model(named_model(settings)), log=log, settings=settings, door=door)
    scheme = "http" if certificate is None else "https"
    _say(f"listening on {scheme}://{host}:{port}")
    run(service.guard, listening, certificate=certificate)
    service.close()


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Who calls with it, as the trail is to name them.")],
    *,
    role: Annotated[str, typer.Option(help="reader, senior, auditor or admin.")] = "reader",
) -> None:
    """Make a key for a program; it is printed once, and kept nowhere.

    Example: medvqa serve key pacs-gateway --role reader
    """
    roles = tuple(one for one in PERMISSIONS if one != "local")
    if role not in roles:
        raise typer.BadParameter(f"{role!r} is not one of {', '.join(roles)}", param_hint="--role")
    if not name.strip() or not name.isprintable():
        raise typer.BadParameter("a name is one printable line", param_hint="NAME")
    made = make_key()
    typer.echo(made)
    typer.echo(
        "Keep it: it is shown this once. The line below goes into medvqa.toml under [api_keys]:", err=True
    )
    typer.echo(write_line(name, made, role=cast("Role", role)))


def _certificate(chain: Path | None, private: Path | None) -> Certificate | None:
    if chain is None and private is None:
        return None
    if chain is None or private is None:
        raise ServiceError("a certificate takes both --tls-certificate and --tls-key")
    for path in (chain, private):
        if not path.is_file():
            raise ServiceError(f"{path} is not there; name PEM files of the certificate and its key")
    return Certificate(chain=chain, key=private)


def _say(text: str) -> None:
    typer.echo(f"medvqa serve: {text}", err=True)
