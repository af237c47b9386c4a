"""What one header says: whether it is an image, whose it is, and what holds for one of its frames."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, BinaryIO

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medvqa.dicom.luts import read_lookup_table
from medvqa.types import LookupTable, PatientIdentity, Window

# fmt: off
_KEYWORDS = (
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID",
    "ImageType",
    "Modality", "SeriesNumber", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient",
    "PatientOrientation", "Laterality", "ImageLaterality",
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames",
    "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelSpacing", "PixelAspectRatio",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "WindowCenter", "WindowWidth",
    "WindowCenterWidthExplanation", "VOILUTFunction", "VOILUTSequence",
    "RescaleIntercept", "RescaleSlope", "ModalityLUTSequence", "PixelPresentation",
    "RedPaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData", "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData", "BurnedInAnnotation", "LossyImageCompression",
    "PatientIdentityRemoved",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
)
# fmt: on
_OVERLAY_ROWS = [0x6000_0010 + 0x2_0000 * group for group in range(16)]
# Patient attributes are not on the list, so none is ever in memory, let alone in a message.
TAGS: list[BaseTag | int] = [*(tag_for_keyword(keyword) or 0 for keyword in _KEYWORDS), *_OVERLAY_ROWS]
# These are taken out again at once: a pseudonym is made of the first two, a distance in days of the third.
_PATIENT_ID, _ISSUER_OF_PATIENT_ID, _STUDY_DATE = 0x0010_0020, 0x0010_0021, 0x0008_0020

_STUDY_UID = 0x0020_000D

_PIXEL_KEYWORDS = {
    0x7FE0_0008: "FloatPixelData",
    0x7FE0_0009: "DoubleFloatPixelData",
    0x7FE0_0010: "PixelData",
}
# The functional group macros that a frame's values, place, side or window may rest on: PS3.3 C.7.6.16.2.
_MACROS = (
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelValueTransformationSequence",
    "FrameVOILUTSequence",
    "FrameAnatomySequence",
)
_FIRST_GROUPS = frozenset({0x0002, 0x0004, 0x0008})


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A data set as far as its pixel data, without any patient attribute."""

    dataset: Dataset
    patient: PatientIdentity | None
    """None where Patient ID (0010,0020) is missing or empty."""
    study_date: date | None
    """Study Date (0008,0020); None where it is missing or none."""
    transfer_syntax: UID
    pixel_keyword: str | None
    """`PixelData`, `FloatPixelData`, `DoubleFloatPixelData`, or None where there is none."""
    pixel_offset: int
    """Of the value of the pixel data, in bytes from the start of the opened stream."""
    pixel_vr: str | None


def may_be_dicom(stream: BinaryIO) -> bool:
    """Say whether the first bytes are those of a DICOM file, with or without preamble (PS3.10 7.1)."""
    head = stream.read(132)
    stream.seek(0)
    if head[128:] == b"DICM":
        return True
    # Without a preamble the file opens with its lowest tag: an even group, then a small element number.
    for order in ("little", "big"):
        group = int.from_bytes(head[0:2], order)
        element = int.from_bytes(head[2:4], order)
        if len(head) > 8 and group in _FIRST_GROUPS and element <= 0x1000:
            return True
    return False


def read_study_uid(stream: BinaryIO) -> str | None:
    """Read Study Instance UID (0020,000D) and nothing after it; None where it is missing.

    Raises:
        Exception: Whatever pydicom's parser meets in a broken file.
    """

    def after(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return int(tag) > _STUDY_UID

    dataset = read_partial(stream, stop_when=after, force=True, specific_tags=[_STUDY_UID])
    return _take_text(dataset, _STUDY_UID) or None


def read_header(stream: BinaryIO) -> Header:
    """Read the data set up to the pixel data; of all its attributes only those in `TAGS`.

    Raises:
        Exception: Whatever pydicom's parser meets in a broken file.
    """
    # `read_partial` leaves the stream where it stopped, which `dcmread` does not: that is where pixels begin.
    pixel: list[tuple[int, str | None]] = []

    def at_pixel_data(tag: BaseTag, vr: str | None, _: int) -> bool:
        if int(tag) in _PIXEL_KEYWORDS:
            pixel.append((int(tag), vr))
        return bool(pixel)

    tags = [*TAGS, _PATIENT_ID, _ISSUER_OF_PATIENT_ID, _STUDY_DATE]
    dataset = read_partial(stream, stop_when=at_pixel_data, force=True, specific_tags=tags)
    patient_id, issuer = _take_text(dataset, _PATIENT_ID), _take_text(dataset, _ISSUER_OF_PATIENT_ID)
    implicit, little = dataset.original_encoding
    stated = dataset.file_meta.get("TransferSyntaxUID")
    plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    tag, vr = pixel[0] if pixel else (None, None)
    # Some files are written implicitly whatever their transfer syntax says; the element's own VR shows it.
    value_starts = 8 if vr is None else 12
    return Header(
        dataset=dataset,
        patient=PatientIdentity(patient_id=patient_id, issuer=issuer) if patient_id else None,
        study_date=_parse_date(_take_text(dataset, _STUDY_DATE)),
        transfer_syntax=UID(stated) if stated else plain if little else ExplicitVRBigEndian,
        pixel_keyword=None if tag is None else _PIXEL_KEYWORDS[tag],
        pixel_offset=stream.tell() + value_starts,
        pixel_vr=vr,
    )


def frame_attributes(dataset: Dataset, frame_number: int) -> Dataset:
    """Flatten what the functional groups say of one frame over the data set's own attributes.

    Args:
        dataset: From `read_header`.
        frame_number: From 1.

    Returns:
        A data set in which Rescale Slope, Window Center, Pixel Spacing, Image Position (Patient) and the
        like stand at the top level, whether the object is enhanced or not.

    Reference: DICOM PS3.3 C.7.6.16.
    """
    flat = Dataset()
    flat.update(dataset)
    flat.set_original_encoding(*dataset.original_encoding)
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or ())[:1]
    per_frame = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())[frame_number - 1 : frame_number]
    for group in (*shared, *per_frame):
        for macro in _MACROS:
            for item in list(group.get(macro) or ())[:1]:
                flat.update(item)
    return flat


def read_numbers(dataset: Dataset, keyword: str, *, count: int | None = None) -> tuple[float, ...] | None:
    """Return the finite numbers of an attribute, or None where it is absent, broken or not `count` long."""
    try:
        value: Any = dataset.get(keyword)
        if value is None or isinstance(value, str):
            return None
        values = tuple(float(part) for part in (value if hasattr(value, "__iter__") else (value,)))
    except (TypeError, ValueError, OverflowError):
        return None
    if not values or not all(map(math.isfinite, values)) or (count is not None and len(values) != count):
        return None
    return values


def read_integer(dataset: Dataset, keyword: str) -> int | None:
    """Return an attribute's single whole number, or None where it is absent or broken."""
    values = read_numbers(dataset, keyword, count=1)
    return None if values is None else int(values[0])


def read_modality(flat: Dataset) -> str:
    """Return Modality (0008,0060), or `unknown`."""
    return str(flat.get("Modality") or "").strip().upper() or "unknown"


def read_windows(flat: Dataset) -> tuple[Window, ...]:
    """Return the usable windows of one frame, in the file's order.

    A window whose width its function does not allow (below 1 for LINEAR, 0 or less otherwise) is left out.

    Reference: DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3.
    """
    centers = read_numbers(flat, "WindowCenter") or ()
    widths = read_numbers(flat, "WindowWidth") or ()
    stated = str(flat.get("VOILUTFunction") or "LINEAR").strip().upper()
    function = "SIGMOID" if stated == "SIGMOID" else "LINEAR_EXACT" if stated == "LINEAR_EXACT" else "LINEAR"
    named: Any = flat.get("WindowCenterWidthExplanation") or ()
    names = [named] if isinstance(named, str) else [str(name) for name in named]
    return tuple(
        Window(
            center=center,
            width=width,
            function=function,
            explanation=(names[index].strip() or None) if index < len(names) else None,
        )
        for index, (center, width) in enumerate(zip(centers, widths, strict=False))
        if width >= 1 or (width > 0 and function != "LINEAR")
    )


def _parse_date(text: str) -> date | None:
    """Of the form YYYYMMDD (PS3.5 6.2, DA)."""
    try:
        return datetime.strptime(text, "%Y%m%d").date()
    except ValueError:
        return None


def _take_text(dataset: Dataset, tag: int) -> str:
    """Remove an attribute and return its text, without the padding; empty where there is none.

    It is decoded here, since pydicom's own conversion may quote a value that it finds odd in a warning.
    """
    element = dataset.get_item(tag) if tag in dataset else None
    value = getattr(element, "value", None)
    if element is None or element.VR == "SQ" or not isinstance(value, bytes):
        dataset.pop(tag, None)
        return ""
    del dataset[tag]
    encodings = convert_encodings(dataset.get("SpecificCharacterSet", "ISO_IR 6"))
    text = decode_bytes(value, encodings, set())
    # What does not decode still has to tell one patient from another: Latin-1 maps each byte to a character.
    return (text if "\ufffd" not in text else value.decode("latin-1")).strip(" \0")


def read_voi_lut(flat: Dataset) -> LookupTable | None:
    """Return the first VOI LUT of one frame (0028,3010), or None where there is none that can be read."""
    items = list(flat.get("VOILUTSequence") or ())
    return read_lookup_table(items[0], flat) if items else None
