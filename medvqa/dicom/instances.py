"""One file of a study: is it an image, whose is it, and where do its frames lie."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, BinaryIO, cast

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, ParametricMapStorage, RTDoseStorage, SegmentationStorage

from medvqa.dicom.headers import (
    Header,
    frame_attributes,
    may_be_dicom,
    read_header,
    read_integer,
    read_numbers,
)
from medvqa.dicom.order import Orientation, Placement, Vector
from medvqa.dicom.sources import Limits, Skipped, Source
from medvqa.types import PatientIdentity

# They hold pixel data, but no picture of a patient: masks, dose, and maps computed from other images.
_LABEL_MAP_SEGMENTATION_STORAGE = UID("1.2.840.10008.5.1.4.1.1.66.7")  # newer than pydicom's dictionary
DERIVED = frozenset(
    {SegmentationStorage, _LABEL_MAP_SEGMENTATION_STORAGE, ParametricMapStorage, RTDoseStorage},
)
# Value 4 of Image Type (0008,0008) of the captures that `medvqa.dicom_out` draws.
HEATMAP_CAPTURE = "MEDVQA HEATMAP"
# Without these a pixel has no value: guessing them could turn an image into its negative.
_REQUIRED = ("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """What is kept of an image file between reading the study and decoding a frame."""

    source: Source
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    stand_ins: tuple[str, ...]
    """Keywords of the UIDs that the file lacks and that were derived."""
    series_number: int | None
    instance_number: int | None
    places: tuple[tuple[Vector | None, Orientation | None], ...]
    """Position and orientation of each frame."""
    derived: bool
    """The object is a mask, a dose or a map, be it drawn over an image, not an acquired image."""
    first_frame: Dataset
    """Attributes of frame 1, without pixel data: what the gate looks at while the study is read."""
    patient: PatientIdentity | None
    study_date: date | None


def read_instance(source: Source, stream: BinaryIO, *, limits: Limits) -> Instance | Skipped:
    """Read one header and say what the file is to its study.

    Args:
        source: The file.
        stream: Opened from it, at its start.
        limits: On rows, columns and frames.

    Returns:
        The image, or why the file is none. Nothing in a file makes this raise.
    """
    if not may_be_dicom(stream):
        return Skipped(name=source.name, code="not_dicom", reason="is not a DICOM file")
    try:
        header = read_header(stream)
        problem = _find_problem(header, name=source.name, limits=limits)
        return problem or _describe(header, source)
    except Exception:  # pydicom's parser raises whatever a broken file makes of it
        return Skipped(name=source.name, code="broken_file", reason="is DICOM whose header cannot be parsed")


def place_frames(instance: Instance) -> Iterator[Placement[tuple[Instance, int]]]:
    """Yield one placement a frame, its item being the instance and the frame number (from 1)."""
    for frame_number, (position, orientation) in enumerate(instance.places, start=1):
        yield Placement(
            item=(instance, frame_number),
            series_number=instance.series_number,
            series_instance_uid=instance.series_instance_uid,
            instance_number=instance.instance_number,
            frame_number=frame_number,
            sop_instance_uid=instance.sop_instance_uid,
            position=position,
            orientation=orientation,
        )


def read_place(flat: Dataset, *, frames: int) -> tuple[Vector | None, Orientation | None]:
    """Return position in mm and orientation of one frame.

    A classic multi-frame object states the position of its first frame only: there it is left out.
    """
    position = read_numbers(flat, "ImagePositionPatient", count=3)
    if frames > 1 and "PerFrameFunctionalGroupsSequence" not in flat:
        position = None
    orientation = read_numbers(flat, "ImageOrientationPatient", count=6)
    return cast(Vector | None, position), cast(Orientation | None, orientation)


def count_frames(dataset: Dataset) -> int | None:
    """Return Number of Frames (0028,0008), 1 where absent, None where it is no positive number."""
    stated: Any = dataset.get("NumberOfFrames")
    if stated is None or stated == "":
        return 1
    frames = read_integer(dataset, "NumberOfFrames")
    return frames if frames is None or frames > 0 else 1 if frames == 0 else None


def _find_problem(header: Header, *, name: str, limits: Limits) -> Skipped | None:
    dataset = header.dataset
    rows, columns = read_integer(dataset, "Rows"), read_integer(dataset, "Columns")
    if header.pixel_keyword is None and not rows:
        return Skipped(name=name, code="not_an_image", reason=f"holds no image ({_class_name(header)})")
    if header.pixel_keyword is None:
        return Skipped(name=name, code="broken_file", reason="has no pixel data", tag="(7FE0,0010)")
    if not rows or not columns:
        return Skipped(name=name, code="broken_file", reason="has no Rows or no Columns", tag="(0028,0010)")
    for keyword in _REQUIRED:
        if dataset.get(keyword) in (None, ""):
            return Skipped(name=name, code="broken_file", reason=f"has no {keyword}", tag=_tag(keyword))
    frames = count_frames(dataset)
    if frames is None:
        return Skipped(name=name, code="broken_file", reason="states no valid frames", tag="(0028,0008)")
    pixels = rows * columns
    if pixels > limits.frame_pixels or frames > limits.frames or pixels * frames > limits.pixels:
        reason = f"has {rows} x {columns} pixels in {frames} frames, more than Limits allows"
        return Skipped(name=name, code="over_limit", reason=reason, tag="(0028,0010)")
    return _decoder_problem(header, name=name)


def _tag(keyword: str) -> str:
    tag = tag_for_keyword(keyword) or 0
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _decoder_problem(header: Header, *, name: str) -> Skipped | None:
    try:
        get_decoder(header.transfer_syntax)
    except NotImplementedError:
        return Skipped(
            name=name,
            code="unsupported_transfer_syntax",
            reason=f"is encoded as {header.transfer_syntax.name}, for which there is no decoder",
            tag="(0002,0010)",
        )
    return None


def _class_name(header: Header) -> str:
    """Name of the SOP class as the Standard has it, never a value that the file made up."""
    stated: Any = header.dataset.get("SOPClassUID") or header.dataset.file_meta.get("MediaStorageSOPClassUID")
    uid = UID(str(stated or ""))
    return uid.name if uid.name != str(uid) else "no SOP Class that is known"


def _describe(header: Header, source: Source) -> Instance:
    dataset = header.dataset
    frames = count_frames(dataset) or 1
    flats = (frame_attributes(dataset, number) for number in range(1, frames + 1))
    uids = {
        keyword: str(dataset.get(keyword) or "").strip()
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    }
    study, series, sop = _with_stand_ins(uids, source)
    first = frame_attributes(dataset, 1)
    for keyword in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        first.pop(keyword, None)  # large, and flattened already
    return Instance(
        source=source,
        study_instance_uid=study,
        series_instance_uid=series,
        sop_instance_uid=sop,
        stand_ins=tuple(keyword for keyword, uid in uids.items() if not uid),
        series_number=read_integer(dataset, "SeriesNumber"),
        instance_number=read_integer(dataset, "InstanceNumber"),
        places=tuple(read_place(flat, frames=frames) for flat in flats),
        derived=str(dataset.get("SOPClassUID") or "") in DERIVED
        or HEATMAP_CAPTURE in (dataset.get("ImageType") or ()),
        first_frame=first,
        patient=header.patient,
        study_date=header.study_date,
    )


def _with_stand_ins(uids: dict[str, str], source: Source) -> tuple[str, str, str]:
    """Fill in missing UIDs: always the same for the same file, and for slices that share the UID above."""
    study, series, sop = uids.values()
    if study and series and sop:
        return study, series, sop
    digest = source.sha256()
    sop = sop or derive_uid("instance", digest)
    known = series or study or digest
    return study or derive_uid("study", known), series or derive_uid("series", known), sop


def derive_uid(*parts: str) -> str:
    """Derive a UID under 2.25 from text: the first 128 bits of its SHA-256, in decimal (PS3.5 B.2)."""
    digest = hashlib.sha256("/".join(parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"
