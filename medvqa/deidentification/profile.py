"""What is done with each attribute: DICOM PS3.15 Table E.1-1, and a rule for what the table does not name.

The table is that of dicom-anonymizer, which follows the Standard's edition 2026c. Where it leaves a choice,
by whether the attribute is required (X/Z, X/D, Z/D, X/Z/D), the one is taken that keeps the object valid
either way.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.uid import UID

try:
    from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
    from dicomanonymizer.simpledicomanonymizer import replace_element
except ImportError:  # of the extra `deidentify`
    dicom_anonymization_database_selector = replace_element = None

from medvqa.deidentification.options import Option
from medvqa.errors import DeidentificationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydicom.dataelem import DataElement

EDITION = "2026c"
"""Of DICOM PS3.15, whose Table E.1-1 is followed."""


class Action(StrEnum):
    """What is done with one attribute."""

    KEEP = "kept"
    """A sequence is kept, and what is in it looked at in its turn."""
    REMOVE = "removed"
    EMPTY = "emptied"
    REPLACE = "replaced"
    """By a value that means nothing."""
    REPLACE_UID = "UID replaced"
    SHIFT = "date moved"


_BY_CODE = {
    "D_TAGS": Action.REPLACE,
    "Z_TAGS": Action.EMPTY,
    "X_TAGS": Action.REMOVE,
    "U_TAGS": Action.REPLACE_UID,
    "Z_D_TAGS": Action.REPLACE,
    "X_Z_TAGS": Action.EMPTY,
    "X_D_TAGS": Action.REPLACE,
    "X_Z_D_TAGS": Action.REPLACE,
    # References to other images: kept, for the UIDs in them are replaced.
    "X_Z_U_STAR_TAGS": Action.KEEP,
}

# fmt: off
_DEVICE = frozenset(
    tag_for_keyword(keyword) for keyword in (
        "BeamHoldTransitionDateTime", "CalibrationDate", "CalibrationDateTime", "CalibrationTime",
        "CassetteID", "DateOfInstallation", "DateOfLastCalibration", "DateOfLastDetectorCalibration",
        "DateOfManufacture", "DateTimeOfLastCalibration", "DetectorID", "DeviceDescription", "DeviceLabel",
        "DeviceSerialNumber", "DeviceUID", "GantryID", "GeneratorID", "LensMake", "LensModel",
        "LensSerialNumber", "LensSpecification", "ManufacturerDeviceClassUID",
        "ManufacturerDeviceIdentifier", "ModifyingDeviceID", "ModifyingSystem",
        "PerformedStationGeographicLocationCodeSequence", "PerformedStationName",
        "PerformedStationNameCodeSequence", "PlateID", "ScheduledProcedureStepLocation",
        "ScheduledStationGeographicLocationCodeSequence", "ScheduledStationName",
        "ScheduledStationNameCodeSequence", "ScheduledStudyLocation", "SourceManufacturer",
        "SourceSerialNumber", "StationName", "TimeOfLastCalibration", "TimeOfLastDetectorCalibration",
        "TransducerIdentificationSequence", "TreatmentMachineName", "UDISequence",
        "UniqueDeviceIdentifier", "XRayDetectorID", "XRayDetectorLabel", "XRaySourceID",
    )
)
_PATIENT_CHARACTERISTICS = frozenset(
    tag_for_keyword(keyword) for keyword in (
        "EthnicGroup", "EthnicGroupCodeSequence", "EthnicGroups", "PatientAge", "PatientSex",
        "PatientSexNeutered", "PatientSize", "PatientWeight", "PregnancyStatus", "SmokingStatus",
    )
)
# No column of the table keeps these, though they are dates or times.
_NO_LONGITUDINAL = frozenset(
    tag_for_keyword(keyword) for keyword in ("PatientBirthDate", "PatientBirthTime", "GPSTimeStamp")
)
# fmt: on
_TEMPORAL = frozenset({"DA", "DT", "TM"})
# The library's own are of the year 1, which dciodvfy and others take for no date.
_NO_DATE = {"DA": "19000101", "DT": "19000101000000"}

# Not in the table, but words, names, addresses or dates of which nothing is known.
_FREE = frozenset({"PN", "AE", "UR", "ST", "LT", "UT", "UC", "UN", *_TEMPORAL})
_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW"})
_HARMLESS = frozenset(
    {"PixelData", "LUTData", "ICCProfile", "LongCodeValue", "URNCodeValue", "LUTFunction"}
    | {f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue", "Alpha")}
    | {f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue", "Alpha")}
)
_GRAPHICS = frozenset({0x5000, 0x6000})
"""Curves and overlays: even groups 50xx and 60xx, of which a plane without its data says nothing."""

_FIRST_GROUP = 0x0008
"""Of a data set; what comes before belongs to messages, files and directories (PS3.5 7.1)."""


def action_for(element: DataElement, options: frozenset[Option]) -> Action:
    """What is done with an attribute at any level of a data set.

    Args:
        element: With the value representation of its file.
        options: Chosen from those of the profile.

    Raises:
        DeidentificationError: If dicom-anonymizer, which brings the table, is not installed.
    """
    tag = element.tag
    if tag.is_private or tag.group < _FIRST_GROUP or tag.group & 0xFF00 in _GRAPHICS:
        return Action.REMOVE
    listed = _table().get(tag)
    return _action_unlisted(element, options) if listed is None else _with_options(element, listed, options)


def is_registered(uid: str) -> bool:
    """Whether the Standard itself gave this UID a meaning, so that it names nobody's object."""
    return UID(uid).name != uid


def put_dummy(element: DataElement) -> bool:
    """Put the library's value that means nothing into an attribute; False where it has none of its kind."""
    if replace_element is None:
        raise _missing()
    if element.VR in _NO_DATE:
        element.value = _NO_DATE[element.VR]
        return True
    try:
        replace_element(element)
    except NotImplementedError:
        return False
    return True


def require_table() -> None:
    """Raise where the table is missing.

    Raises:
        DeidentificationError: If dicom-anonymizer is not installed.
    """
    _table()


def _with_options(element: DataElement, listed: Action, options: frozenset[Option]) -> Action:
    tag = element.tag
    if element.VR in _TEMPORAL and tag not in _NO_LONGITUDINAL:
        if Option.RETAIN_FULL_DATES in options:
            return Action.KEEP
        if Option.RETAIN_MODIFIED_DATES in options:
            return Action.KEEP if element.VR == "TM" else Action.SHIFT
    kept = (
        (Option.RETAIN_DEVICE_IDENTITY in options and tag in _DEVICE)
        or (Option.RETAIN_PATIENT_CHARACTERISTICS in options and tag in _PATIENT_CHARACTERISTICS)
        or (Option.RETAIN_UIDS in options and element.VR == "UI")
    )
    return Action.KEEP if kept else listed


def _action_unlisted(element: DataElement, options: frozenset[Option]) -> Action:
    """Numbers, codes and short technical names stay; what may hold free words, or is unknown, goes."""
    try:
        known = dictionary_VR(element.tag)
    except KeyError:
        return Action.REMOVE
    # A value that is not of the kind that the Standard says may be anything.
    if known != element.VR and element.VR not in known.split(" or "):
        return Action.REMOVE
    if element.VR == "UI":
        return Action.KEEP if Option.RETAIN_UIDS in options else Action.REPLACE_UID
    free = element.VR in _FREE or not _BINARY.isdisjoint(element.VR.split(" or "))
    return Action.REMOVE if free and keyword_for_tag(element.tag) not in _HARMLESS else Action.KEEP


@lru_cache(maxsize=1)
def _table() -> Mapping[int, Action]:
    """Action by tag; curves and overlays, the table's only ranges, have a rule of their own."""
    if dicom_anonymization_database_selector is None:
        raise _missing()
    table = dicom_anonymization_database_selector(f"dicomfields_{EDITION}")
    return {
        tag[0] << 16 | tag[1]: action
        for code, action in _BY_CODE.items()
        for tag in table[code]
        if len(tag) == 2
    }


def _missing() -> DeidentificationError:
    return DeidentificationError(
        "to de-identify takes dicom-anonymizer, which is not installed; install it with pip install "
        "'medvqa[deidentify]'"
    )
