"""Files about an answer or a result, recorded before they are written."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import typer

from medvqa import records

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from audit import Event
    from medvqa.sessions import Session


def write_recorded(session: Session, about: Event, contents: Mapping[str, bytes], out: Path) -> None:
    """Write files to a folder once that is recorded.

    They are named after the answer or result, never after anything in the study.

    Args:
        session: Who writes.
        about: Event of the answer or result.
        contents: Of the files, by ending.
        out: The folder.

    Raises:
        BadParameter: If the folder cannot be written to.
        RecordError: If the trail did not take the event.
    """
    digests = {ending: hashlib.sha256(content).hexdigest() for ending, content in contents.items()}
    try:
        out.mkdir(parents=True, exist_ok=True)
        records.record(session.log, records.export(session.agent, about, files=digests))
        for ending, content in contents.items():
            (out / f"{about.subject}{ending}").write_bytes(content)
    except OSError as error:
        raise typer.BadParameter(
            f"{out} cannot be written to: {error.strerror}", param_hint="--out"
        ) from error
