"""Statements of archives: which rows' bodies left the table, and the digest of what they became."""

import re
from typing import NamedTuple

from audit.checkpoints import sign_note, split_note
from audit.errors import CheckpointError
from audit.keys import SigningKey


class Statement(NamedTuple):
    """First row, last row, and the SHA-256 (lower hex) of their bodies, a line feed after each."""

    first: int
    last: int
    sha256: str


def sign_statement(*, first: int, last: int, sha256: str, key: SigningKey) -> str:
    """State, in a signed note, that the bodies of rows `first` to `last` went to a file with that SHA-256."""
    return sign_note(f"{key.verifier.name}\narchive of rows {first} to {last}\nsha256 {sha256}\n", [key])


def read_statement(note: str) -> Statement:
    """Read a statement without checking who signed it.

    Raises:
        CheckpointError: If it is not such a statement.
    """
    text, _ = split_note(note)
    found = re.fullmatch(r"[^\n]+\narchive of rows (\d{1,19}) to (\d{1,19})\nsha256 ([0-9a-f]{64})\n", text)
    if found is None:
        raise CheckpointError("it is not the statement of an archive")
    return Statement(int(found[1]), int(found[2]), found[3])
