"""What a study's own attributes say identifies: looked for wherever else it may stand.

A technician types a name where it does not belong. What the profile keeps is therefore searched for the very
names and numbers that the profile takes out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydicom.datadict import tag_for_keyword
from pydicom.multival import MultiValue

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

SHORTEST_WORD = 3
"""Letters of the shortest part of a name that is looked for; shorter ones stand in too many words."""
SHORTEST_NUMBER = 5
"""Characters of the shortest number that is also looked for inside longer ones."""

# fmt: off
_NUMBERS = frozenset(
    tag_for_keyword(keyword) for keyword in (
        "PatientID", "OtherPatientIDs", "PatientBirthDate", "AccessionNumber", "AdmissionID",
        "ServiceEpisodeID", "MedicalRecordLocator", "PatientAddress", "PatientTelephoneNumbers",
        "InstitutionName", "InstitutionAddress", "FillerOrderNumberImagingServiceRequest",
        "PlacerOrderNumberImagingServiceRequest", "RequestedProcedureID", "DeidentifiedPatientID",
    )
)
# fmt: on
# Terms that decide what the pixels mean, none of which is written by hand; and the pixels themselves.
_EXEMPT = frozenset(
    tag_for_keyword(keyword)
    for keyword in ("SpecificCharacterSet", "ImageType", "Modality", "PhotometricInterpretation", "PixelData")
)
_SEARCHED = frozenset({"AE", "CS", "LO", "LT", "OB", "OW", "PN", "SH", "ST", "UC", "UN", "UR", "UT"})


@dataclass(frozen=True)
class Identifiers:
    """Words and numbers that name the patient, staff or institution of a study."""

    words: frozenset[str] = field(repr=False)
    """In lower case: each is looked for as a whole word."""
    numbers: frozenset[str] = field(repr=False)
    """In lower case: each is looked for anywhere."""

    def are_in(self, element: DataElement) -> bool:
        """Whether an attribute that is kept repeats one of them."""
        if self._pattern is None or element.tag in _EXEMPT or element.VR not in _SEARCHED:
            return False
        value: Any = element.value
        values: Iterable[Any] = value if isinstance(value, (list, MultiValue)) else (value,)
        return any(self._pattern.search(_text(one)) is not None for one in values)

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        parts = [rf"(?<!\w){re.escape(word)}(?!\w)" for word in sorted(self.words)]
        parts += [re.escape(number) for number in sorted(self.numbers)]
        return re.compile("|".join(parts)) if parts else None


def collect_identifiers(datasets: Iterable[Dataset]) -> Identifiers:
    """Gather what identifies from the headers of a study."""
    words: set[str] = set()
    numbers: set[str] = set()
    for element in (one for dataset in datasets for one in _elements(dataset)):
        value: Any = element.value
        values: Iterable[Any] = value if isinstance(value, (list, MultiValue)) else (value,)
        for text in (_text(one).strip() for one in values):
            if element.VR == "PN":
                words.update(word for word in re.findall(r"\w+", text) if len(word) >= SHORTEST_WORD)
            elif element.tag in _NUMBERS and len(text) >= SHORTEST_NUMBER:
                numbers.add(text)
            elif element.tag in _NUMBERS and len(text) >= SHORTEST_WORD:
                words.add(text)
    return Identifiers(words=frozenset(words), numbers=frozenset(numbers))


def _elements(dataset: Dataset) -> Iterator[DataElement]:
    """All at every level that can be read."""
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
        except Exception:  # noqa: S112 - pydicom raises whatever a broken value makes of it
            continue
        if element.VR == "SQ":
            for item in element.value or ():
                yield from _elements(item)
        else:
            yield element


def _text(value: Any) -> str:
    """In lower case; bytes byte by byte."""
    return (value.decode("latin-1") if isinstance(value, bytes) else str(value)).casefold()
