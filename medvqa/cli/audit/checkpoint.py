"""`medvqa audit checkpoint`: sign the trail as it stands."""

from pathlib import Path
from typing import Annotated

import typer

from audit import Checkpoint, ReadError
from audit.actions import Action
from audit.rotation import load_current_key
from audit.rows import plain_entry
from medvqa.cli.audit.files import new_file
from medvqa.cli.audit.opening import Trail, opened
from medvqa.cli.audit.options import AuditOption

OutOption = Annotated[
    Path | None, typer.Option(help="The file; else medvqa-audit-checkpoint-SIZE.txt in this folder.")
]


def checkpoint(*, out: OutOption = None, audit: AuditOption = None) -> None:
    """Sign the trail as it stands, and write the checkpoint to a file that you send away.

    Example: medvqa audit checkpoint --out checkpoint.txt

    Mail it, publish it, or keep it on storage that cannot be rewritten: a copy that
    nobody here can reach shows later that no row that it covers was changed or cut off.
    """
    with opened(audit) as trail:
        if out is not None and out.exists():
            raise typer.BadParameter(f"there is a file {out} already; name another", param_hint="--out")
        signed = _sign(trail)
    path = out or Path(f"medvqa-audit-checkpoint-{signed.size}.txt")
    with new_file(path) as file:
        file.write(signed.note)
    typer.echo(f"{path} covers rows 1 to {signed.size}.")
    typer.echo("Send it to where nobody who can change the trail can change it too.", err=True)


def _sign(trail: Trail) -> Checkpoint:
    """Record that somebody signs, and sign, together or not at all."""
    if trail.read_only:
        raise ReadError("the trail is open for reading only, so nothing was signed; open the trail itself")
    key = load_current_key(trail.log, trail.key_path)
    entry = trail.entry(Action.CHECKPOINT, {"key": key.verifier.key_id.hex(), "origin": key.verifier.name})
    with trail.log.writing() as connection:
        trail.log.extend(connection, [plain_entry(entry)])
        return trail.log.sign_within(connection, [key])
