"""`medvqa audit key`: the signing key of a trail."""

from typing import Annotated

import typer

from audit.actions import Action
from audit.keys import create_key, known_keys_path, read_known_keys
from audit.rotation import rotate
from audit.rows import plain_entry
from medvqa.cli.audit.opening import opened
from medvqa.cli.audit.options import AuditOption
from medvqa.settings import load_settings
from medvqa.signing_keys import signing_key_path

app = typer.Typer(no_args_is_help=True, help="Create, rotate and show the key that signs checkpoints.")


@app.command()
def create(
    *,
    name: Annotated[str, typer.Option(metavar="ORIGIN", help="Of the trail, such as example.org/audit.")],
    audit: AuditOption = None,
) -> None:
    """Create the signing key of a trail, and record its public half there.

    Example: medvqa audit key create --name example.org/audit

    Only you can read the key; back it up. Give its public line to everybody who verifies.
    """
    with opened(audit, create=True) as trail, trail.log.writing() as connection:
        key = create_key(trail.key_path, name=name)
        entry = trail.entry(Action.CONFIGURE, {"signing_key": key.verifier.vkey})
        trail.log.extend(connection, [plain_entry(entry)])
        path, line = trail.key_path, key.verifier.vkey
    typer.echo(line)
    typer.echo(f"The private key is {path}: back it up.", err=True)


@app.command("rotate")
def rotate_key(*, audit: AuditOption = None) -> None:
    """Replace the signing key by a new one; both sign that it follows. The old one signs nothing more.

    Example: medvqa audit key rotate
    """
    with opened(audit) as trail:
        key = rotate(trail.log, trail.key_path, agent=trail.settings.agent, role=trail.settings.role)
        public = known_keys_path(trail.key_path)
    typer.echo(key.verifier.vkey)
    typer.echo(f"Give {public} to everybody who verifies, and send away a checkpoint.", err=True)


@app.command()
def show() -> None:
    """Print the public lines of all keys that ever signed, the newest last. They are no secret.

    Example: medvqa audit key show > audit.vkeys
    """
    for key in read_known_keys(signing_key_path(load_settings().key_folder)):
        typer.echo(key.vkey)
