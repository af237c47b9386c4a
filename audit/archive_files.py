"""The file of an archive: bodies that left the table, signed, and still giving the tree's leaves.

It is a ZIP of four files:

    bodies.ndjson     the rows' bodies, one a line, byte for byte what their leaf hashes cover
    hashes.txt        hashes of the subtrees on both sides of the rows: base64, one a line, from left to right
    checkpoint.note   a signed checkpoint that covers the rows
    statement.note    first row, last row and the SHA-256 of bodies.ndjson, signed (`audit.statements`)

The bodies' leaves and the hashes beside them give the checkpoint's root: an archive proves without its trail
that its bodies are those once recorded. Of a checkpoint kept elsewhere it proves the same where that ends
among the archive's rows, or covers as many events as the one within; any other is tied to the one within by a
consistency proof (`audit.proofs`). Times in the ZIP are fixed, so that the same rows, checkpoint and key give
the same bytes.
"""

import base64
import hashlib
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from audit.checkpoints import parse_checkpoint, signers
from audit.errors import CheckpointError, ReadError
from audit.keys import SigningKey, VerifierKey
from audit.merkle import Node, covering_nodes, fold, grow, join, leaf_hash
from audit.statements import Statement, read_statement, sign_statement
from audit.types import Checkpoint

_BODIES, _HASHES, _CHECKPOINT, _STATEMENT = _FILES = (
    "bodies.ndjson",
    "hashes.txt",
    "checkpoint.note",
    "statement.note",
)
_LARGEST_TEXT = 1 << 20
"""Bytes of a file of the ZIP other than the bodies: notes and hashes take a few thousand."""

_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError)
"""What `zipfile` and decoding raise on a file that something else wrote, or wrote over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """One archive file, whose signatures, digest and hashes hold."""

    path: Path
    first: int
    """The first row whose body it holds."""
    last: int
    sha256: str
    """Of its bodies, a line feed after each, lower hex: what its statement signs."""
    statement: str
    """The signed note that says so."""
    checkpoint: Checkpoint
    """The one within."""


def beside(rows: range, size: int) -> tuple[list[Node], list[Node]]:
    """Subtrees before `rows` (numbered from 1), and after, that complete them to a tree of `size` events."""
    return covering_nodes(0, rows[0] - 1), covering_nodes(rows[-1], size)


def write_archive(
    file: IO[bytes],
    bodies: Iterable[bytes],
    *,
    rows: range,
    hashes: Sequence[bytes],
    checkpoint: Checkpoint,
    key: SigningKey,
) -> None:
    """Write an archive into a file opened for it.

    Args:
        file: Seekable.
        bodies: Of the rows, in order.
        rows: Their numbers, from 1.
        hashes: Of the subtrees `beside` them.
        checkpoint: Signed, and covering the rows.
        key: What signs the statement.
    """
    digest = hashlib.sha256()
    with zipfile.ZipFile(file, "w") as container:
        with container.open(_entry(_BODIES), "w", force_zip64=True) as lines:
            for body in bodies:
                digest.update(body + b"\n")
                lines.write(body + b"\n")
        statement = sign_statement(first=rows[0], last=rows[-1], sha256=digest.hexdigest(), key=key)
        encoded = "".join(base64.b64encode(value).decode() + "\n" for value in hashes)
        for name, text in ((_HASHES, encoded), (_CHECKPOINT, checkpoint.note), (_STATEMENT, statement)):
            container.writestr(_entry(name), text)


def check_archive(path: Path, *, keys: Sequence[VerifierKey], kept: Sequence[Checkpoint] = ()) -> Archived:
    """Check an archive without its trail: signatures, digest, and that its bodies give the checkpoint's tree.

    Args:
        path: The file.
        keys: Public keys that are trusted; one must have signed the statement, and one the checkpoint.
        kept: Checkpoints that were kept elsewhere, whose signatures the caller trusts.

    Raises:
        CheckpointError: If it is no archive, does not hold, or says nothing about a checkpoint of `kept`.
        ReadError: If the file cannot be read.
    """
    with _opened(path) as container:
        return _check(path, container, keys, kept)


def read_archive(path: Path, *, keys: Sequence[VerifierKey]) -> Iterator[tuple[int, str]]:
    """Check an archive like `check_archive`, then yield its rows' numbers and bodies in order.

    Several of them, chained in the order of their rows, are what `Log.verify` takes as `archived`.
    """
    with _opened(path) as container:
        first = _check(path, container, keys, ()).first
        with container.open(_BODIES) as lines:
            for sequence, line in enumerate(lines, start=first):
                yield sequence, line[:-1].decode("utf-8")


@contextmanager
def _opened(path: Path) -> Generator[zipfile.ZipFile]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise ReadError(f"the archive {path} cannot be read: {error.strerror}; check the path") from error
    try:
        with file, zipfile.ZipFile(file) as container:
            methods = {entry.compress_type for entry in container.infolist()}
            if container.namelist() != list(_FILES) or not methods <= _METHODS:
                raise CheckpointError(f"it is not a ZIP of {', '.join(_FILES)}")
            yield container
    except CheckpointError as error:
        raise CheckpointError(f"the archive {path} does not hold: {error}") from error
    except _DAMAGE as error:
        raise CheckpointError(f"the archive {path} is damaged; restore it from a copy") from error


def _check(
    path: Path, container: zipfile.ZipFile, keys: Sequence[VerifierKey], kept: Sequence[Checkpoint]
) -> Archived:
    checkpoint_note, statement_note = (_read_text(container, name) for name in (_CHECKPOINT, _STATEMENT))
    for name, note in ((_CHECKPOINT, checkpoint_note), (_STATEMENT, statement_note)):
        if not signers(note, keys):
            raise CheckpointError(f"none of the keys given signed its {name}; give the trail's keys")
    statement, checkpoint = read_statement(statement_note), parse_checkpoint(checkpoint_note)
    if not 0 < statement.first <= statement.last <= checkpoint.size:
        raise CheckpointError("its checkpoint does not cover its rows")
    for other in kept:
        if not statement.first <= other.size <= statement.last and other.size != checkpoint.size:
            raise CheckpointError(
                f"it says nothing of a checkpoint of {other.size} events; prove that one consistent with the "
                f"one within, of {checkpoint.size}"
            )
    roots = _roots(container, statement, checkpoint.size, {other.size for other in kept})
    for other in (checkpoint, *kept):
        if roots.get(other.size) != other.root:
            raise CheckpointError(f"its bodies are not what the checkpoint of {other.size} events covers")
    return Archived(
        path=path,
        first=statement.first,
        last=statement.last,
        sha256=statement.sha256,
        statement=statement_note,
        checkpoint=checkpoint,
    )


def _roots(container: zipfile.ZipFile, statement: Statement, size: int, sizes: set[int]) -> dict[int, bytes]:
    """Roots of the trees of `size` and of each of `sizes` events, from bodies that the statement signs."""
    before, after = beside(range(statement.first, statement.last + 1), size)
    hashes = [base64.b64decode(line, validate=True) for line in _read_text(container, _HASHES).splitlines()]
    if len(hashes) != len(before) + len(after) or any(len(value) != 32 for value in hashes):
        raise CheckpointError(f"its {_HASHES} is not that of the subtrees beside its rows")
    frontier = list(zip(before, hashes[: len(before)], strict=True))
    digest, number = hashlib.sha256(), statement.first - 1
    roots: dict[int, bytes] = {}
    with container.open(_BODIES) as lines:
        for number, line in enumerate(lines, start=statement.first):
            digest.update(line)
            grow(frontier, number - 1, leaf_hash(line.removesuffix(b"\n")))
            if number in sizes:
                roots[number] = fold([value for _, value in frontier])
    if (number, digest.hexdigest()) != (statement.last, statement.sha256):
        raise CheckpointError(f"its {_BODIES} is not what its statement signs")
    for node, value in zip(after, hashes[len(before) :], strict=True):
        join(frontier, node, value)
    return {**roots, size: fold([value for _, value in frontier])}


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)  # of 1980-01-01
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3  # Unix, wherever it is written
    entry.external_attr = 0o600 << 16
    return entry


def _read_text(container: zipfile.ZipFile, name: str) -> str:
    with container.open(name) as file:
        text = file.read(_LARGEST_TEXT + 1)
    if len(text) > _LARGEST_TEXT:
        raise CheckpointError(f"its {name} is too large to be one")
    return text.decode("utf-8")
