"""Which options of the Basic Application Level Confidentiality Profile there are here, and which are not.

Reference: DICOM PS3.15 E.3; CID 7050 of PS3.16.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType

from medvqa.errors import DeidentificationError


class Option(StrEnum):
    """An option of the profile, by its name on the command line."""

    RETAIN_UIDS = "retain-uids"
    RETAIN_DEVICE_IDENTITY = "retain-device-identity"
    RETAIN_PATIENT_CHARACTERISTICS = "retain-patient-characteristics"
    RETAIN_FULL_DATES = "retain-full-dates"
    RETAIN_MODIFIED_DATES = "retain-modified-dates"


REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "clean-descriptors": "no program tells for certain which words of a description name somebody",
        "clean-structured-content": "structured reports are left out, since their text cannot be cleaned",
        "clean-graphics": "overlays and curves are removed whole, which tells less",
        "clean-recognizable-visual-features": "faces are not removed from volumes",
        "clean-pixel-data": "pixels are always looked through for text, so it need not be asked for",
        "retain-safe-private": "no private attribute is known here to be safe",
        "retain-institution-identity": "an institution with a date and a rare finding names a patient",
    }
)
"""Options that there are in the Standard, and why not here."""


def parse_options(names: Iterable[str]) -> frozenset[Option]:
    """Options by name.

    Raises:
        DeidentificationError: If a name is that of no option, or of one that is not supported, or if dates
            are to be kept both as they are and modified.
    """
    chosen: set[Option] = set()
    for name in names:
        if name in REFUSED:
            raise DeidentificationError(f"the option {name} is not supported: {REFUSED[name]}; leave it out")
        if name not in tuple(Option):
            raise DeidentificationError(f"there is no option {name!r}; choose from {', '.join(Option)}")
        chosen.add(Option(name))
    if {Option.RETAIN_FULL_DATES, Option.RETAIN_MODIFIED_DATES} <= chosen:
        raise DeidentificationError(
            "dates are kept full or modified, not both; choose retain-full-dates or retain-modified-dates"
        )
    return frozenset(chosen)
