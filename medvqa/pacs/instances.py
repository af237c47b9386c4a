"""DICOM files as they come in and go out: what each says it is, and keeping one durably."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO
from uuid import uuid4

from audit.keys import sync_folder
from medvqa.dicom.headers import read_header
from medvqa.errors import PacsError
from medvqa.pacs.queries import is_uid

if TYPE_CHECKING:
    from pathlib import Path

    from medvqa.types import PatientIdentity

DRAFT = ".part"
"""How the name of a file ends while it is written: what is left of it after a crash is no instance."""
OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One DICOM file, by what its header says; each UID is one, and so harmless as the name of a file."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax: str
    patient: PatientIdentity | None = field(repr=False)
    is_image: bool
    """Whether it holds pixel data."""
    sha256: str
    """Of the file's bytes."""


def describe_file(path: Path) -> Instance:
    """Read what a file says it is.

    Raises:
        PacsError: If it is no DICOM file (PS3.10) whose UIDs can be used.
        OSError: If it cannot be read.
    """
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
        return _describe(stream, sha256)


def describe_bytes(content: bytes) -> Instance:
    """As `describe_file`, of a file's bytes."""
    return _describe(BytesIO(content), hashlib.sha256(content).hexdigest())


def keep(content: bytes, path: Path) -> None:
    """Write a file that is whole whenever it is there, and still there after a power cut.

    Raises:
        OSError: If it cannot be written; then nothing is left of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{uuid4()}{DRAFT}")
    try:
        with draft.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    sync_folder(path.parent.parent)


def _describe(stream: BinaryIO, sha256: str) -> Instance:
    if stream.read(132)[128:] != b"DICM":
        raise PacsError("is no DICOM file with a preamble (PS3.10 7.1)")
    stream.seek(0)
    try:
        header = read_header(stream)
        dataset = header.dataset
        stated = {
            "study_instance_uid": str(dataset.get("StudyInstanceUID") or ""),
            "series_instance_uid": str(dataset.get("SeriesInstanceUID") or ""),
            "sop_instance_uid": str(dataset.get("SOPInstanceUID") or ""),
            "sop_class_uid": str(dataset.get("SOPClassUID") or ""),
            "transfer_syntax": str(header.transfer_syntax),
        }
    except Exception as error:  # pydicom's parser raises whatever a broken file makes of it
        raise PacsError("is DICOM whose header cannot be parsed") from error
    if not all(map(is_uid, stated.values())):
        raise PacsError(
            "has no UIDs that can be used; see (0020,000D), (0020,000E), (0008,0018), (0008,0016)"
        )
    return Instance(
        **stated, patient=header.patient, is_image=header.pixel_keyword is not None, sha256=sha256
    )
