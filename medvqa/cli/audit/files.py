"""Files that commands of `medvqa audit` write and read: none is written over."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import typer

from audit import Checkpoint, CheckpointError, ReadError
from audit.checkpoints import parse_checkpoint


@contextmanager
def new_file(path: Path) -> Generator[TextIO]:
    """A text file that is there, whole and durable, once the block ends, and not at all if it fails."""
    if path.exists():
        raise typer.BadParameter(f"there is a file {path} already; name another", param_hint="--out")
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise typer.BadParameter(
            f"{path} cannot be written: {error.strerror}; name another place", param_hint="--out"
        ) from error


def read_note(path: Path) -> str:
    """The text of a checkpoint file.

    Raises:
        ReadError: If the file cannot be read.
        CheckpointError: If it is not text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ReadError(f"the checkpoint {path} cannot be read: {error.strerror}; check the path") from error
    except ValueError as error:
        raise CheckpointError(f"the checkpoint {path} is not text; take another copy of it") from error


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint from its file, without checking who signed it."""
    try:
        return parse_checkpoint(read_note(path))
    except CheckpointError as error:
        raise CheckpointError(f"the checkpoint {path} is of no use: {error}; take another copy") from error
