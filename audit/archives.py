"""Archives: bodies that left the table, in files that a key signed and that still give the tree's leaves."""

import re

from audit.checkpoints import sign_note, split_note
from audit.errors import CheckpointError
from audit.keys import SigningKey


def sign_statement(*, first: int, last: int, sha256: str, key: SigningKey) -> str:
    """State, in a signed note, that the bodies of rows `first` to `last` went to a file of that SHA-256."""
    return sign_note(f"{key.verifier.name}\narchive of rows {first} to {last}\nsha256 {sha256}\n", [key])


def read_statement(note: str) -> tuple[int, int, str]:
    """First row, last row and SHA-256 that a statement names, without checking who signed it.

    Raises:
        CheckpointError: If it is not such a statement.
    """
    text, _ = split_note(note)
    found = re.fullmatch(r"[^\n]+\narchive of rows (\d{1,19}) to (\d{1,19})\nsha256 ([0-9a-f]{64})\n", text)
    if found is None:
        raise CheckpointError("it is not the statement of an archive")
    return int(found[1]), int(found[2]), found[3]
