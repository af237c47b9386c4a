"""The instances that answers are about: what a result takes from them, and how it refers to them."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage
from pydicom.valuerep import format_number_as_ds

from medvqa.dicom.headers import frame_attributes, read_numbers
from medvqa.dicom.instances import count_frames
from medvqa.dicom.orientation import read_edges, read_laterality
from medvqa.dicom.sources import DEFAULT_LIMITS, UNREADABLE, Source, find_sources
from medvqa.errors import DicomError
from medvqa.raster import is_raster

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from medvqa.types import Image

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID")
_TYPE_2 = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
"""Of Patient and General Study (PS3.3 C.7.1.1, C.7.2.1): they are there, if empty."""
_CARRIED = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "Rows",
    "Columns",
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceImage:
    """One frame that was asked about, as results refer to it."""

    sop_class_uid: str
    sop_instance_uid: str
    frame_number: int | None
    """From 1; None for an instance of one frame, which is referred to as a whole."""
    header: Dataset
    """All but the pixels, in Unicode."""
    stand_in: Dataset
    """The frame as an image of its own, without the patient: what highdicom derives objects from.

    It is of a class with a single frame; `refer_to` puts back which frame of what class it is."""
    has_plane: bool
    """Whether the frame says where in the patient it lies."""
    patient_orientation: tuple[str, ...]
    """Which way rows and columns point (0020,0020); empty where the source does not say."""
    laterality: str
    """`L` or `R` of a paired organ (0020,0060); empty where there is none, or the source does not say."""


def read_headers(path: Path, wanted: Iterable[str]) -> dict[str, Dataset]:
    """Read the headers of instances, patient and all, by SOP Instance UID.

    Args:
        path: Where the study was read from.
        wanted: SOP Instance UIDs.

    Raises:
        DicomError: If one is missing, is no DICOM file, or lacks a UID, so that nothing can refer to it.
    """
    missing, found = set(wanted), dict[str, Dataset]()
    sources, _ = find_sources(path, limits=DEFAULT_LIMITS)
    for source in sources:
        if not missing:
            break
        header = _read_header(source)
        uid = "" if header is None else str(header.get("SOPInstanceUID") or "")
        if header is not None and uid in missing:
            _require_uids(header, source.name)
            found[uid] = header
            missing.remove(uid)
    if missing:
        raise DicomError(
            f"{path.name} is not the DICOM study that was asked about: a result for a PACS belongs to "
            "files with a SOP Instance UID (0008,0018), not to PNG or JPEG; name that study"
        )
    return found


def describe_source(header: Dataset, image: Image) -> SourceImage:
    """What results need to know of the frame that `image` shows."""
    flat = frame_attributes(header, image.ref.frame_number)
    edges = read_edges(flat, image.orientation)
    has_plane = None not in (image.position, image.orientation, image.pixel_spacing_mm) and bool(
        header.get("FrameOfReferenceUID")
    )
    return SourceImage(
        sop_class_uid=str(header.SOPClassUID),
        sop_instance_uid=str(header.SOPInstanceUID),
        frame_number=image.ref.frame_number if (count_frames(header) or 1) > 1 else None,
        header=header,
        stand_in=_stand_in(flat, image, has_plane=has_plane),
        has_plane=has_plane,
        patient_orientation=() if edges is None else (edges[1], edges[3]),
        laterality=side if (side := read_laterality(flat)) in ("L", "R") else "",
    )


def refer_to(dataset: Dataset, source: SourceImage) -> None:
    """Let every reference to the stand-in name the true class and, where frames are named, the frame."""

    def correct(_: Dataset, element: Any) -> None:
        if element.VR != "SQ":
            return
        for at, item in enumerate(element.value):
            if item.get("ReferencedSOPInstanceUID") != source.sop_instance_uid:
                continue
            item.ReferencedSOPClassUID = source.sop_class_uid
            if element.keyword == "SourceImageSequence" and source.frame_number is not None:
                element.value[at] = deepcopy(item)  # highdicom puts the same item where no frame may be named
                element.value[at].ReferencedFrameNumber = source.frame_number

    dataset.walk(correct)


def _read_header(source: Source) -> Dataset | None:
    try:
        with source.open(limits=DEFAULT_LIMITS) as stream:
            head = stream.read(8)
            stream.seek(0)
            return None if is_raster(head) else dcmread(stream, stop_before_pixels=True, force=True)
    except UNREADABLE:
        return None
    except Exception:  # pydicom's parser raises whatever a broken file makes of it
        return None


def _require_uids(header: Dataset, name: str) -> None:
    for keyword in _UIDS:
        if not header.get(keyword):
            raise DicomError(
                f"{name} has no {keyword}, so that no result can refer to it; name another study"
            )


def _stand_in(flat: Dataset, image: Image, *, has_plane: bool) -> Dataset:
    stand_in = Dataset()
    for keyword in _CARRIED:
        if keyword in flat:
            stand_in[keyword] = flat[keyword]
    stand_in.SOPClassUID = SecondaryCaptureImageStorage
    stand_in.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _TYPE_2:
        setattr(stand_in, keyword, "")
    if image.pixel_spacing_mm is not None:
        stand_in.PixelSpacing = _decimals(image.pixel_spacing_mm)
        # highdicom 0.28 does not read pixel measures without a thickness: one pixel's is given.
        thickness = read_numbers(flat, "SliceThickness", count=1) or image.pixel_spacing_mm[:1]
        (stand_in.SliceThickness,) = _decimals(thickness)
    if has_plane:
        stand_in.FrameOfReferenceUID = flat.FrameOfReferenceUID
        stand_in.PositionReferenceIndicator = flat.get("PositionReferenceIndicator")
        stand_in.ImagePositionPatient = _decimals(image.position or ())
        stand_in.ImageOrientationPatient = _decimals(image.orientation or ())
    return stand_in


def _decimals(values: Sequence[float]) -> list[str]:
    """As decimal strings (DS), which hold 16 characters."""
    return [format_number_as_ds(value) for value in values]
