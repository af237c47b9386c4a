"""What lies in the files that are to be de-identified: images, other objects, and what is no DICOM."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom import dcmread
from pydicom.dataset import Dataset

from medvqa.deidentification.identifiers import Identifiers, collect_identifiers
from medvqa.deidentification.quietness import quietly
from medvqa.dicom.instances import Instance, read_instance
from medvqa.dicom.sources import UNREADABLE, Limits, Skipped, Source, find_sources
from medvqa.errors import DicomError

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A DICOM object that is not cleaned."""

    name: str
    """Of its file, for the person who named the folder alone."""
    sop_instance_uid: str | None
    """As the source has it."""
    reason: str
    """Completes the sentence 'it was left out: it ...'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What lies in the files."""

    instances: tuple[Instance, ...]
    refused: tuple[Refused, ...]
    not_dicom: int
    identifiers: dict[str, Identifiers] = field(repr=False)
    """By Study Instance UID: from the headers of all its objects, those that are refused included."""


def find_instances(paths: Iterable[Path], *, limits: Limits) -> Found:
    """Read the headers of all files.

    Args:
        paths: Files, folders (searched through) and ZIP archives, of one or several studies.
        limits: As for reading a study.

    Raises:
        DicomError: If a path does not exist or holds no DICOM object.
        LimitError: If there is more than the limits allow.
    """
    instances: dict[str, Instance] = {}
    refused: list[Refused] = []
    headers: defaultdict[str, list[Dataset]] = defaultdict(list)
    not_dicom = 0
    for path in paths:
        sources, skipped = find_sources(path, limits=limits)
        refused += [Refused(name=one.name, sop_instance_uid=None, reason=one.reason) for one in skipped]
        for source in sources:
            read = _read(source, limits)
            if isinstance(read, Skipped) and read.code == "not_dicom":
                not_dicom += 1
                continue
            with quietly():
                header = _header(source, limits)
            uid = str(header.get("SOPInstanceUID") or "") or None
            study = read.study_instance_uid if isinstance(read, Instance) else header.get("StudyInstanceUID")
            headers[str(study or "")].append(header)
            if isinstance(read, Skipped):
                refused.append(Refused(name=source.name, sop_instance_uid=uid, reason=read.reason))
            elif (known := instances.get(read.sop_instance_uid)) is None:
                instances[read.sop_instance_uid] = read
            elif known.source.sha256() != source.sha256():
                reason = "has the SOP Instance UID of another file, whose content differs"
                refused.append(Refused(name=source.name, sop_instance_uid=uid, reason=reason))
    if not headers:
        raise DicomError(
            "there is no DICOM file to de-identify; name the folder or archive that holds the study"
        )
    with quietly():
        identifiers = {study: collect_identifiers(found) for study, found in headers.items()}
    return Found(
        instances=tuple(instances.values()),
        refused=tuple(refused),
        not_dicom=not_dicom,
        identifiers=identifiers,
    )


def _read(source: Source, limits: Limits) -> Instance | Skipped:
    """An image that can be cleaned, or why it is none."""
    try:
        with source.open(limits=limits) as stream:
            read = read_instance(source, stream, limits=limits)
    except UNREADABLE:
        return Skipped(name=source.name, code="broken_file", reason="cannot be read")
    if isinstance(read, Instance) and read.derived:
        reason = "is a mask, a dose or a map, in whose pixels no text is looked for"
        return Skipped(name=source.name, code="derived", reason=reason)
    return read


def _header(source: Source, limits: Limits) -> Dataset:
    """All attributes but the pixels; as many as can be read."""
    try:
        with source.open(limits=limits) as stream:
            return dcmread(stream, force=True, stop_before_pixels=True)
    except Exception:  # pydicom raises whatever a broken file makes of it
        return Dataset()
