"""Signed notes and checkpoints in the text form of C2SP (signed-note, tlog-checkpoint), which others read."""

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from audit.errors import CheckpointError
from audit.keys import SigningKey, VerifierKey, is_key_name
from audit.types import Checkpoint

_LARGEST = 2**63 - 1

MOST_SIGNATURES = 100
"""Signatures that a note may carry (C2SP signed-note asks for 16 at least)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureLine:
    """One signature of a note: who claims to have signed, the hint at the key, the signature itself."""

    name: str
    key_id: bytes
    signature: bytes


def sign_note(text: str, keys: Sequence[SigningKey]) -> str:
    """Append signatures to a text that ends in a newline and holds no empty line."""
    lines = [
        f"— {key.verifier.name} {base64.b64encode(key.verifier.key_id + key.sign(text.encode())).decode()}\n"
        for key in keys
    ]
    return text + "\n" + "".join(lines)


def sign_checkpoint(*, size: int, root: bytes, keys: Sequence[SigningKey]) -> Checkpoint:
    """State that the tree of `size` events has that root; the newest key comes first and names the trail."""
    origin = keys[0].verifier.name
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    return Checkpoint(origin=origin, size=size, root=root, note=sign_note(text, keys))


def split_note(note: str) -> tuple[str, tuple[SignatureLine, ...]]:
    """A note's text, its last newline included, and its signatures, not checked yet.

    Raises:
        CheckpointError: If it is not a signed note.

    Reference: C2SP signed-note, "Format".
    """
    if any(_is_forbidden(sign) for sign in note):
        raise CheckpointError("it is not a signed note: it holds control characters, or is not UTF-8")
    text, gap, signatures = note.rpartition("\n\n")
    lines = signatures.split("\n")
    if not gap or len(lines) < 2 or lines.pop():
        raise CheckpointError("it is not a signed note: no lines of signatures end it, after an empty one")
    if len(lines) > MOST_SIGNATURES:
        raise CheckpointError(f"it is not a signed note: it has more than {MOST_SIGNATURES} signatures")
    return text + "\n", tuple(_parse_signature(line) for line in lines)


def parse_checkpoint(note: str) -> Checkpoint:
    """Read a checkpoint without checking who signed it.

    Raises:
        CheckpointError: If it is not a checkpoint.
    """
    text, _ = split_note(note)
    lines = text[:-1].split("\n")
    try:
        origin, digits, encoded = lines[:3]
        size, root = int(digits), base64.b64decode(encoded, validate=True)
        if not all(lines) or str(size) != digits or not 0 <= size <= _LARGEST or len(root) != 32:
            raise ValueError("not a checkpoint")
    except (ValueError, binascii.Error) as error:
        raise CheckpointError("it is not a checkpoint: origin, size and root hash come first") from error
    return Checkpoint(origin=origin, size=size, root=root, note=note)


def signers(note: str, keys: Iterable[VerifierKey]) -> tuple[VerifierKey, ...]:
    """Which of `keys` signed a note; signatures by others say nothing and are passed over.

    Raises:
        CheckpointError: If it is not a signed note, or a line claims one of `keys` and is not its signature.
    """
    text, lines = split_note(note)
    found: list[VerifierKey] = []
    for line in lines:
        for key in keys:
            if (line.name, line.key_id) == (key.name, key.key_id):
                if not key.signed(text.encode(), line.signature):
                    raise CheckpointError(f"the signature of {key.name} is not that key's: it is forged")
                found.append(key)
    return tuple(dict.fromkeys(found))


def _is_forbidden(sign: str) -> bool:
    """Control characters, and the surrogates that stand for bytes that are not UTF-8."""
    return (sign < " " and sign != "\n") or "\ud800" <= sign <= "\udfff"


def _parse_signature(line: str) -> SignatureLine:
    try:
        dash, name, encoded = line.split(" ")
        signature = base64.b64decode(encoded, validate=True)
        if dash != "—" or not is_key_name(name) or len(signature) < 5:
            raise ValueError("not a signature line")
    except (ValueError, binascii.Error) as error:
        raise CheckpointError("it is not a signed note: a signature line is malformed") from error
    return SignatureLine(name=name, key_id=signature[:4], signature=signature[4:])
