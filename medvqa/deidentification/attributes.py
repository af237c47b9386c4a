"""Taking out of a data set, at every level, what the profile takes out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sr.codedict import codes

from medvqa.deidentification.options import Option
from medvqa.deidentification.profile import EDITION, Action, action_for, put_dummy

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement

    from medvqa.deidentification.identifiers import Identifiers
    from medvqa.deidentification.replacements import Replacements

_OPTION_CODES = {
    Option.RETAIN_UIDS: codes.cid7050.RetainUidsOption,
    Option.RETAIN_DEVICE_IDENTITY: codes.cid7050.RetainDeviceIdentityOption,
    Option.RETAIN_PATIENT_CHARACTERISTICS: codes.cid7050.RetainPatientCharacteristicsOption,
    Option.RETAIN_FULL_DATES: codes.cid7050.RetainLongitudinalTemporalInformationFullDatesOption,
    Option.RETAIN_MODIFIED_DATES: codes.cid7050.RetainLongitudinalTemporalInformationModifiedDatesOption,
}
_TEMPORAL = re.compile(r"[0-9.:+\- ]*")
OLDEST = 89
"""Years; an older patient is said to be of 90, since the few who are older are known by their age."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What was done with one attribute; never its value."""

    place: str
    """Its tag, after those of the sequences that it stands in: `(0008,1140)>(0008,1155)`."""
    action: Action


def clean_attributes(
    dataset: Dataset, options: frozenset[Option], *, put: Replacements, identifiers: Identifiers
) -> frozenset[Change]:
    """Apply the profile to a data set, in place.

    What is kept but repeats an identifier of the study is emptied too, and so is what cannot be read.

    Args:
        dataset: All but the file meta information.
        options: Of the profile.
        put: What replaces UIDs and dates.
        identifiers: From `collect_identifiers`, of the whole study.

    Reference: DICOM PS3.15 E.1.1, E.3.
    """
    changes: set[Change] = set()
    _clean(dataset, "", options, put, identifiers, changes)
    return frozenset(changes)


def say_deidentified(
    dataset: Dataset, options: frozenset[Option], *, code: str, every_frame_read: bool
) -> None:
    """Write into a data set that it was de-identified, how, and under which code.

    Args:
        dataset: After `clean_attributes`.
        options: That were applied.
        code: Of the patient.
        every_frame_read: Whether each frame was looked through for text, and what was found is masked; only
            then Burned In Annotation (0028,0301) is NO.

    Reference: DICOM PS3.3 C.7.1.1, C.12.1.1.2; PS3.15 E.1.1; CID 7050.
    """
    dataset.PatientID = dataset.PatientName = code
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = ["medvqa deidentify", f"DICOM PS3.15 {EDITION} Annex E"]
    applied = [codes.cid7050.BasicApplicationConfidentialityProfile, codes.cid7050.CleanPixelDataOption]
    applied += [_OPTION_CODES[option] for option in sorted(options)]
    dataset.DeidentificationMethodCodeSequence = [_code_item(code) for code in applied]
    kept = Option.RETAIN_FULL_DATES in options
    moved = Option.RETAIN_MODIFIED_DATES in options
    dataset.LongitudinalTemporalInformationModified = (
        "UNMODIFIED" if kept else "MODIFIED" if moved else "REMOVED"
    )
    dataset.pop("BurnedInAnnotation", None)
    if every_frame_read:
        dataset.BurnedInAnnotation = "NO"


def _clean(
    dataset: Dataset,
    above: str,
    options: frozenset[Option],
    put: Replacements,
    identifiers: Identifiers,
    changes: set[Change],
) -> None:
    for tag in list(dataset.keys()):
        place = f"{above}({tag.group:04X},{tag.element:04X})"
        try:
            element = dataset[tag]
            action = action_for(element, options)
        except Exception:  # pydicom raises whatever a broken value makes of it
            del dataset[tag]
            changes.add(Change(place=place, action=Action.REMOVE))
            continue
        if action is Action.KEEP and element.VR == "SQ":
            for item in element.value or ():
                _clean(item, f"{place}>", options, put, identifiers, changes)
        elif action is not Action.KEEP or identifiers.are_in(element) or _is_no_date(element):
            done = Action.REPLACE if action is Action.KEEP else action
            if _apply(done, dataset, element, put):
                changes.add(Change(place=place, action=done))
    _cap_age(dataset)


def _apply(action: Action, dataset: Dataset, element: DataElement, put: Replacements) -> bool:
    """Do it; whether that changed anything."""
    before = element.value
    match action:
        case Action.REMOVE:
            del dataset[element.tag]
            return True
        case Action.EMPTY:
            element.value = [] if element.VR == "SQ" else None
        case Action.SHIFT:
            _set(element, [put.moved(one) for one in _values(element)])
        case Action.REPLACE_UID:
            _set(element, [put.new_uid(one) for one in _values(element)])
        case _:
            _replace(dataset, element, put)
            return True
    return element.value != before


def _replace(dataset: Dataset, element: DataElement, put: Replacements) -> None:
    """Put a value that means nothing in place of another, at every level of a sequence."""
    if element.VR == "SQ":
        for item in element.value or ():
            for inner in list(item):
                _replace(item, inner, put)
    elif element.VR == "UI":
        _set(element, [put.new_uid(one) for one in _values(element)])
    elif not put_dummy(element):
        del dataset[element.tag]


def _set(element: DataElement, values: list[str]) -> None:
    element.value = values if len(values) > 1 else values[0] if values else None


def _values(element: DataElement) -> list[str]:
    value: Any = element.value
    return [str(one) for one in (value if isinstance(value, (list, MultiValue)) else [value or ""])]


def _is_no_date(element: DataElement) -> bool:
    """Whether what is kept as a date or time holds something else."""
    return element.VR in ("DA", "DT", "TM") and not all(map(_TEMPORAL.fullmatch, _values(element)))


def _cap_age(dataset: Dataset) -> None:
    """As 45 CFR 164.514(b)(2)(i)(C) has it."""
    age = str(dataset.get("PatientAge") or "")
    if age.endswith("Y") and age[:-1].isdecimal() and int(age[:-1]) > OLDEST:
        dataset.PatientAge = f"{OLDEST + 1:03}Y"


def _code_item(code: Any) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = (
        code.value,
        code.scheme_designator,
        code.meaning,
    )
    return item
