"""Which keys may speak for a trail, as rotations hand trust from one to the next.

A rotation is an event whose entity holds the next key as `vkey` and, as `endorsement`, a signed note by the
key that retires and by the next one:

    example.org/audit
    rotation at row 12
    retires c74f20a3
    trusts example.org/audit+61b2ba0c+AQ...

Whoever may append can write such an event, and the next checkpoint will cover it: so it is the endorsement
that hands trust on, not the event. It names its row, so that none can be repeated or moved.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from audit.actions import Action
from audit.checkpoints import sign_note, signers, split_note
from audit.errors import CheckpointError, KeyFileError
from audit.keys import SigningKey, VerifierKey, parse_vkey
from audit.types import Checkpoint, ProblemKind

ROTATION = Action.ROTATE_KEY
"""The action of an event that hands trust on to another key."""


def endorse(*, sequence: int, retiring: SigningKey, following: SigningKey) -> str:
    """The signed note by which the rotation at row `sequence` hands trust on."""
    text = _statement(sequence, retiring.verifier, following.verifier)
    return sign_note(text, [following, retiring])


def successor(sequence: int, entity: Mapping[str, Any], *, of: VerifierKey) -> VerifierKey | None:
    """The key that a rotation at row `sequence` hands trust on to; None unless key `of` endorsed it."""
    try:
        note = str(entity.get("endorsement"))
        following = parse_vkey(str(entity.get("vkey")))
        signed = signers(note, (of, following))
        stated = split_note(note)[0] == _statement(sequence, of, following)
    except (CheckpointError, KeyFileError):
        return None
    return following if stated and of != following and {of, following} <= {*signed} else None


class Trust:
    """The keys trusted so far, while a trail is read from its first row on.

    A key that a trusted key endorsed is trusted from that row on; the one that retired may not sign anything
    larger.

    Args:
        keys: Trusted from the start.
    """

    def __init__(self, keys: Sequence[VerifierKey]) -> None:
        self._trusted = list(keys)
        self._retired: dict[VerifierKey, int] = {}

    def announce(self, sequence: int, entity: Mapping[str, Any]) -> str | None:
        """Follow a rotation at row `sequence`.

        Returns:
            What is wrong with it; None where nothing is, as in one that names no new key.
        """
        for key in self._trusted:
            if (following := successor(sequence, entity, of=key)) is None:
                continue
            if key in self._retired:
                return f"row {sequence} hands trust on by a key that was retired at row {self._retired[key]}"
            self._retired[key] = sequence
            if following not in self._trusted:
                self._trusted.append(following)
            return None
        known = {None, *(key.vkey for key in self._trusted)}
        return (
            None
            if entity.get("vkey") in known
            else f"row {sequence} announces a key that no trusted key endorsed"
        )

    def objection(self, checkpoint: Checkpoint) -> tuple[ProblemKind, str] | None:
        """Why a checkpoint's signatures prove nothing; None where a trusted key signed it."""
        try:
            signed = signers(checkpoint.note, self._trusted)
        except CheckpointError as error:
            return "forged_checkpoint", str(error)
        current = [key for key in signed if self._retired.get(key, checkpoint.size) >= checkpoint.size]
        if not signed:
            return (
                "foreign_key",
                "no trusted key signed it; give the trail's public keys, or find out who did",
            )
        if not current:
            return "foreign_key", f"only a key retired at row {self._retired[signed[0]]} signed it"
        if checkpoint.origin not in {key.name for key in current}:
            return "foreign_key", "it is about another trail than its key signs for"
        return None

    def vouches_for(self, note: str) -> bool:
        """Whether a key that was ever trusted signed a note.

        Raises:
            CheckpointError: If it is not a signed note, or its signature is forged.
        """
        return bool(signers(note, self._trusted))


def _statement(sequence: int, retiring: VerifierKey, following: VerifierKey) -> str:
    return (
        f"{retiring.name}\nrotation at row {sequence}\nretires {retiring.key_id.hex()}\n"
        f"trusts {following.vkey}\n"
    )
