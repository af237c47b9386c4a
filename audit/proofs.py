"""Proofs that a third party checks offline, in C2SP's text forms, from a trail and one of its checkpoints.

An inclusion proof is a `tlog-proof` file (https://c2sp.org/tlog-proof). A consistency proof has the form in
which witnesses are asked to cosign (https://c2sp.org/tlog-witness): the line `old SIZE`, the hashes, an empty
line, and the newer checkpoint. `docs/verify_proof.py` checks both with the standard library alone.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING

from audit.checkpoints import parse_checkpoint, signers
from audit.errors import CheckpointError, ReadError
from audit.keys import VerifierKey
from audit.log import read_nodes, read_root
from audit.merkle import (
    consistency_ranges,
    continues,
    covering_nodes,
    includes,
    inclusion_ranges,
    leaf_hash,
    prove,
)
from audit.types import Checkpoint

if TYPE_CHECKING:
    import sqlalchemy as sa

    from audit.log import Log

_TLOG_PROOF = "c2sp.org/tlog-proof@v1"


def prove_inclusion(log: "Log", sequence: int, checkpoint: Checkpoint) -> str:
    """Prove that row `sequence` is among the events that a checkpoint covers; reads O(log n) rows.

    Raises:
        ReadError: If the checkpoint does not cover the row, or is none of this trail.
    """
    if not 0 < sequence <= checkpoint.size:
        raise ReadError(
            f"the checkpoint covers rows 1 to {checkpoint.size}, not row {sequence}; sign a newer one"
        )
    with log.snapshot() as connection:
        _require_same_tree(connection, checkpoint)
        hashes = _prove(connection, inclusion_ranges(sequence - 1, checkpoint.size))
    lines = [_TLOG_PROOF, f"index {sequence - 1}", *map(_encode, hashes), "", checkpoint.note]
    return "\n".join(lines)


def prove_consistency(log: "Log", old: Checkpoint, new: Checkpoint) -> str:
    """Prove that the trail at checkpoint `new` still starts with that at `old`; reads O(log n) rows.

    Raises:
        ReadError: If either is no checkpoint of this trail, or `new` is the smaller one.
    """
    if old.size > new.size:
        raise ReadError("the older checkpoint covers more events than the newer one; exchange them")
    with log.snapshot() as connection:
        for checkpoint in (old, new):
            _require_same_tree(connection, checkpoint)
        hashes = _prove(connection, consistency_ranges(old.size, new.size))
    return "\n".join([f"old {old.size}", *map(_encode, hashes), "", new.note])


def check_inclusion(proof: str, body: bytes, keys: Sequence[VerifierKey]) -> Checkpoint:
    """Check a `tlog-proof` for a row's canonical body.

    Returns:
        The checkpoint that covers it.

    Raises:
        CheckpointError: If the proof is malformed, its checkpoint is signed by none of `keys`, or it does not
            prove that the body is in the tree.
    """
    head, _, note = proof.partition("\n\n")
    lines = head.split("\n")
    if lines[0] != _TLOG_PROOF:
        raise CheckpointError("it is not a tlog-proof: its first line is not c2sp.org/tlog-proof@v1")
    extra = 1 if lines[1:] and lines[1].startswith("extra ") else 0
    index, hashes = _numbered(lines[1 + extra :], "index")
    checkpoint = _require_signed(note, keys)
    if not includes(
        index=index, size=checkpoint.size, leaf=leaf_hash(body), proof=hashes, root=checkpoint.root
    ):
        raise CheckpointError("the proof does not hold: this event is not what the checkpoint covers")
    return checkpoint


def check_consistency(proof: str, old: Checkpoint, keys: Sequence[VerifierKey]) -> Checkpoint:
    """Check that the newer checkpoint within `proof` continues `old`, whose signature the caller trusts.

    Raises:
        CheckpointError: If the proof is malformed, its checkpoint is signed by none of `keys`, or it does not
            continue `old`.
    """
    head, _, note = proof.partition("\n\n")
    size, hashes = _numbered(head.split("\n"), "old")
    new = _require_signed(note, keys)
    if size != old.size or not continues(
        old=old.size, new=new.size, proof=hashes, old_root=old.root, new_root=new.root
    ):
        raise CheckpointError("the proof does not hold: the newer checkpoint does not continue the older one")
    return new


def _numbered(lines: Sequence[str], word: str) -> tuple[int, list[bytes]]:
    try:
        found, digits = lines[0].split(" ")
        number = int(digits)
        if found != word or str(number) != digits or number < 0:
            raise ValueError("no number")
        return number, [base64.b64decode(line, validate=True) for line in lines[1:]]
    except (IndexError, ValueError, binascii.Error) as error:
        raise CheckpointError(
            f"the proof is malformed: the line `{word} NUMBER` and hashes come first"
        ) from error


def _require_signed(note: str, keys: Sequence[VerifierKey]) -> Checkpoint:
    checkpoint = parse_checkpoint(note)
    if not signers(note, keys):
        raise CheckpointError("none of the keys given signed the proof's checkpoint; give the trail's keys")
    return checkpoint


def _require_same_tree(connection: "sa.Connection", checkpoint: Checkpoint) -> None:
    if read_root(connection, checkpoint.size) != checkpoint.root:
        raise ReadError(
            f"the checkpoint of {checkpoint.size} events is not one of this trail as it stands; verify the"
            " trail"
        )


def _prove(connection: "sa.Connection", ranges: Sequence[tuple[int, int]]) -> tuple[bytes, ...]:
    nodes = [node for leaves in ranges for node in covering_nodes(*leaves)]
    known = dict(zip(nodes, read_nodes(connection, nodes), strict=True))
    return prove(ranges, known.__getitem__)


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode()
