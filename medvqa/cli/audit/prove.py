"""`medvqa audit prove`: proofs that a third party checks offline."""

from pathlib import Path
from typing import Annotated

import typer

from audit import Checkpoint, Filter, ReadError
from audit.merkle import leaf_hash
from audit.proofs import prove_consistency, prove_inclusion
from audit.rows import read_row
from medvqa.cli.audit.files import new_file, read_checkpoint
from medvqa.cli.audit.opening import Trail, opened
from medvqa.cli.audit.options import AuditOption


def prove(
    row: Annotated[int | None, typer.Argument(min=1, help="The event's row.")] = None,
    *,
    out: Annotated[Path, typer.Option(help="Where the proof goes, without its ending.")],
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="That covers the row; else the latest of the trail.")
    ] = None,
    older: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Older checkpoint, of which to prove ...")
    ] = None,
    newer: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="... that this or the latest continues it."),
    ] = None,
    audit: AuditOption = None,
) -> None:
    """Write a proof that one event is in the trail, or that a checkpoint continues an older one.

    Example: medvqa audit prove 12 --out event-12

    Writes event-12.json, the event as it was recorded, and event-12.tlog-proof: enough,
    with the public keys, for docs/verify_proof.py or any C2SP tlog-proof reader. With
    --from, writes the proof of consistency to a file ending in .tlog-consistency.
    """
    if (row is None) == (older is None):
        raise typer.BadParameter("give either a row or --from a checkpoint", param_hint="ROW")
    with opened(audit) as trail:
        if row is not None:
            _prove_event(trail, row, checkpoint, out)
        elif older is not None:
            _prove_continuation(trail, older, newer, out)


def _prove_event(trail: Trail, row: int, file: Path | None, out: Path) -> None:
    covering = _chosen(trail, file)
    proof = prove_inclusion(trail.log, row, covering)
    body = _recorded_body(trail, row)
    trail.record_reading("prove", {"row": row}, {"covered": covering.size})
    for ending, text in ((".json", body), (".tlog-proof", proof)):
        _write(out, ending, text)


def _prove_continuation(trail: Trail, older: Path, newer: Path | None, out: Path) -> None:
    old, new = read_checkpoint(older), _chosen(trail, newer)
    proof = prove_consistency(trail.log, old, new)
    trail.record_reading("prove", {"from": old.size, "to": new.size}, {})
    _write(out, ".tlog-consistency", proof)


def _chosen(trail: Trail, file: Path | None) -> Checkpoint:
    if file is not None:
        return read_checkpoint(file)
    kept = trail.log.checkpoints()
    if not kept:
        raise ReadError("the trail has no checkpoint to prove anything by; run `medvqa audit checkpoint`")
    return max(kept, key=lambda found: found.size)


def _recorded_body(trail: Trail, row: int) -> str:
    for found in trail.log.read_rows(Filter(sequence=row)):
        if found.body is None:
            raise ReadError(f"row {row} of the audit trail is archived; take its body from its archive file")
        event = read_row(found)
        if leaf_hash(found.body.encode()).hex() == event.hash:
            return found.body
    raise ReadError(f"row {row} of the audit trail is not what was recorded; verify the trail")


def _write(out: Path, ending: str, text: str) -> None:
    path = out.with_name(out.name + ending)
    with new_file(path) as file:
        file.write(text)
    typer.echo(str(path))
