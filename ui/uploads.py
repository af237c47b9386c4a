"""Files that a browser sends: how many, how large and of what kind, and where they lie meanwhile."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from medvqa import DicomError, LimitError, Notice, Study
from medvqa.assistant import open_study
from medvqa.dicom.headers import may_be_dicom
from medvqa.raster import is_raster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from medvqa.sessions import Session

MOST_FILES = 5000
"""Of one upload: more than the slices of any study that a browser should be asked to send."""
MOST_BYTES = 4 << 30
"""Of one upload, all files together."""
_PREFIX = "medvqa-upload-"
_ZIP = b"PK"


def open_upload(session: Session, files: Sequence[UploadedFile]) -> tuple[Study, TemporaryDirectory[str]]:
    """Read a study from uploaded files, kept under neutral names in a folder that goes with the desk.

    What is neither DICOM, PNG, JPEG nor ZIP by its first bytes is never written down.

    Raises:
        LimitError: If they are too many, or too large together.
        DicomError: If none is of these kinds, or they hold no study.
        RecordError: If the trail did not take it that the study was opened.
    """
    if len(files) > MOST_FILES:
        raise LimitError(f"{len(files)} files are more than the {MOST_FILES} that may be sent; open a folder")
    total = sum(file.size for file in files)
    if total > MOST_BYTES:
        sizes = f"{total >> 20} MiB are more than the {MOST_BYTES >> 20} MiB that may be sent at once"
        raise LimitError(f"{sizes}; open a folder")
    taken = [file for file in files if is_taken(file.getbuffer()[:132])]
    if not taken:
        sent = (
            "the file that was sent is" if len(files) == 1 else f"all {len(files)} files that were sent are"
        )
        raise DicomError(f"{sent} neither DICOM, PNG, JPEG nor ZIP; send the images themselves")
    folder = TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-")
    for number, file in enumerate(taken, start=1):
        (Path(folder.name) / f"uploaded file {number}").write_bytes(file.getbuffer())
    path = Path(folder.name) / "uploaded file 1" if len(taken) == 1 else Path(folder.name)
    study = open_study(session, path)
    if len(taken) < len(files):
        left = f"{len(files) - len(taken)} of {len(files)} files were not taken"
        notice = Notice(code="not_taken", message=f"{left}: they are neither DICOM, PNG, JPEG nor ZIP")
        study = replace(study, warnings=(*study.warnings, notice))
    return study, folder


def is_taken(head: bytes | memoryview) -> bool:
    """Whether a file's first 132 bytes are those of DICOM, PNG, JPEG or ZIP."""
    head = bytes(head)
    return head.startswith(_ZIP) or is_raster(head) or may_be_dicom(BytesIO(head))


def remove_leftovers() -> None:
    """Remove what servers left behind that were killed before they could clear up."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        number = folder.name.removeprefix(_PREFIX).split("-")[0]
        if number.isdecimal() and not _runs(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
