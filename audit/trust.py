"""Which keys may speak for a trail, as rotations hand trust from one to the next."""

from collections.abc import Mapping, Sequence
from typing import Any

from audit.actions import Action
from audit.checkpoints import signers
from audit.errors import CheckpointError, KeyFileError
from audit.keys import VerifierKey, parse_vkey
from audit.types import Checkpoint, ProblemKind

ROTATION = Action.ROTATE_KEY
"""The action whose entity names the next key as `vkey`; a checkpoint that covers it makes that key trusted."""


class Trust:
    """The keys trusted so far, while a trail is read from its first row on.

    A key that a `rotate_key` event announced is trusted once a checkpoint that covers the event holds; the keys
    before it may not sign anything larger from then on.

    Args:
        keys: Trusted from the start.
    """

    def __init__(self, keys: Sequence[VerifierKey]) -> None:
        self._trusted = list(keys)
        self._announced: list[tuple[int, VerifierKey]] = []
        self._retired: dict[VerifierKey, int] = {}

    def announce(self, sequence: int, entity: Mapping[str, Any]) -> None:
        """Take note of a rotation at row `sequence`; one that names no key changes nothing."""
        try:
            self._announced.append((sequence, parse_vkey(str(entity.get("vkey")))))
        except KeyFileError:
            return

    def confirm(self, size: int) -> None:
        """A checkpoint of `size` events holds: trust what was announced in them."""
        for sequence, key in [found for found in self._announced if found[0] <= size]:
            for earlier in self._trusted:
                if earlier != key:
                    self._retired.setdefault(earlier, sequence)
            if key not in self._trusted:
                self._trusted.append(key)
            self._announced.remove((sequence, key))

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
