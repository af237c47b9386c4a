"""Writing a composed checkpoint as one folder, in one move."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medvqa.errors import ModelError


def require_new(out: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        ModelError: If it does.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ModelError(f"{out} holds something already; give another --out")


def save_checkpoint(
    out: Path, model: Any, processor: Any, *, beside: Callable[[Path], None] | None = None
) -> None:
    """Write model and processor to `out`, which appears whole or not at all.

    Args:
        out: As of `require_new`.
        model: Of transformers.
        processor: Likewise.
        beside: Writes further files into the folder that it is given.

    Raises:
        ModelError: If the folder cannot be written.
    """
    require_new(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise ModelError(f"{out} cannot be written: {error.strerror}; give another --out") from error
    try:
        model.save_pretrained(unfinished)
        processor.save_pretrained(unfinished)
        if beside is not None:
            beside(unfinished)
        unfinished.chmod(0o755)
        if out.exists():
            out.rmdir()
        unfinished.rename(out)
    except OSError as error:
        raise ModelError(f"{out} cannot be written: {error.strerror}; give another --out") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
