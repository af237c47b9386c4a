"""What is asked of a PACS, and what it says that it has. Nothing that it says is trusted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from medvqa.errors import PacsError
from medvqa.types import PatientIdentity

if TYPE_CHECKING:
    from pydicom import Dataset

DEFAULT_LIMIT = 100
"""Studies that a query yields at most, where it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyQuery:
    """Which studies are looked for: those to which all that is given applies.

    Raises:
        PacsError: If a value could not be matched as it stands, such as one with a wildcard.
    """

    study_instance_uid: str | None = None
    patient_id: str | None = field(default=None, repr=False)
    """Patient ID (0010,0020)."""
    accession_number: str | None = field(default=None, repr=False)
    """Accession Number (0008,0050)."""
    study_date: str | None = field(default=None, repr=False)
    """Study Date (0008,0020): `20260131`, or a range such as `20260101-20260131`."""
    modality: str | None = None
    """Modalities in Study (0008,0061), one of them."""
    limit: int = DEFAULT_LIMIT
    """Studies, from 1."""

    def __post_init__(self) -> None:
        if self.study_instance_uid is not None and not is_uid(self.study_instance_uid):
            raise PacsError("the Study Instance UID is none: digits and dots, 64 characters at most")
        for name, value in (("Patient ID", self.patient_id), ("Accession Number", self.accession_number)):
            if value is not None and not (re.fullmatch(r"[^*?\\]{1,64}", value) and value.isprintable()):
                raise PacsError(f"the {name} must name one: 1 to 64 characters, without * or ?")
        if self.study_date is not None:
            _read_range(self.study_date)
        if self.modality is not None and not re.fullmatch(r"[A-Z0-9_]{1,16}", self.modality):
            raise PacsError(f"the modality {self.modality!r} is none; write a code such as MR")
        if self.limit < 1:
            raise PacsError(f"the limit must be a number of studies from 1, got {self.limit}")

    @property
    def restricted_by(self) -> tuple[str, ...]:
        """Names of what is given; the trail has these and no values."""
        names = ("study_instance_uid", "patient_id", "accession_number", "study_date", "modality")
        return tuple(name for name in names if getattr(self, name) is not None)

    @property
    def keys(self) -> dict[str, str]:
        """What is given, by DICOM keyword, as C-FIND and QIDO-RS take it."""
        given = {
            "StudyInstanceUID": self.study_instance_uid,
            "PatientID": self.patient_id,
            "AccessionNumber": self.accession_number,
            "StudyDate": self.study_date,
            "ModalitiesInStudy": self.modality,
        }
        return {keyword: value for keyword, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundStudy:
    """A study that a PACS says it has."""

    study_instance_uid: str
    patient: PatientIdentity | None = field(default=None, repr=False)
    modalities: tuple[str, ...] = ()
    instances: int | None = None
    """None where the PACS does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundInstance:
    """An instance that a PACS says a study has."""

    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str | None = None
    """None where the PACS does not say."""


STUDY_KEYWORDS = (
    "StudyInstanceUID",
    "PatientID",
    "IssuerOfPatientID",
    "AccessionNumber",
    "StudyDate",
    "ModalitiesInStudy",
    "NumberOfStudyRelatedInstances",
)
"""What is asked for of each study; some PACS return more, which is left unread."""

INSTANCE_KEYWORDS = ("SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")


def is_uid(text: str) -> bool:
    """Whether text is a UID, and so harmless as the name of a file.

    Components with leading zeros, which PS3.5 9.1 forbids and some devices write, are let through.
    """
    return len(text) <= 64 and re.fullmatch(r"[0-9]+(\.[0-9]+)+", text) is not None


def read_study_answer(answer: Dataset, query: StudyQuery) -> FoundStudy | None:
    """One study of an answer to a query.

    Returns:
        None where it has no UID that is one, or is not what was asked for: a PACS that does not know a key
        leaves it out of the matching (PS3.4 C.2.2.2), and would let another patient's studies through.
    """
    uid = _text(answer, "StudyInstanceUID")
    if not is_uid(uid) or not _matches(answer, query, uid):
        return None
    patient_id = _text(answer, "PatientID")
    count = _text(answer, "NumberOfStudyRelatedInstances")
    return FoundStudy(
        study_instance_uid=uid,
        patient=PatientIdentity(patient_id=patient_id, issuer=_text(answer, "IssuerOfPatientID"))
        if patient_id
        else None,
        modalities=tuple(one for one in _texts(answer, "ModalitiesInStudy") if one.isalnum()),
        instances=int(count) if count.isdecimal() else None,
    )


def read_instance_answer(answer: Dataset, series: str | None = None) -> FoundInstance | None:
    """One instance of an answer; None where its UIDs are none."""
    found = FoundInstance(
        series_instance_uid=series or _text(answer, "SeriesInstanceUID"),
        sop_instance_uid=_text(answer, "SOPInstanceUID"),
        sop_class_uid=_text(answer, "SOPClassUID") or None,
    )
    stated = (found.series_instance_uid, found.sop_instance_uid, found.sop_class_uid or "1.2")
    return found if all(map(is_uid, stated)) else None


def _matches(answer: Dataset, query: StudyQuery, uid: str) -> bool:
    if query.study_instance_uid not in (None, uid):
        return False
    if query.patient_id is not None and _text(answer, "PatientID") != query.patient_id.strip():
        return False
    accession = query.accession_number
    if accession is not None and _text(answer, "AccessionNumber") != accession.strip():
        return False
    if query.study_date is not None:
        first, last = _read_range(query.study_date)
        taken = _read_date(_text(answer, "StudyDate"))
        if taken is None or not first <= taken <= last:
            return False
    modalities = _texts(answer, "ModalitiesInStudy")
    return query.modality is None or not modalities or query.modality in modalities


def _read_range(text: str) -> tuple[date, date]:
    first, dash, last = text.partition("-")
    begins = _read_date(first) if first else date.min
    ends = _read_date(last) if last else date.max if dash else begins
    if begins is None or ends is None or begins > ends or text == "-":
        raise PacsError("the study date is none; write 20260131 or a range such as 20260101-20260131")
    return begins, ends


def _read_date(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y%m%d").date() if len(text) == 8 else None
    except ValueError:
        return None


def _text(answer: Dataset, keyword: str) -> str:
    return next(iter(_texts(answer, keyword)), "")


def _texts(answer: Dataset, keyword: str) -> list[str]:
    """Values of an attribute; none where it is missing or cannot be read."""
    try:
        value: Any = answer.get(keyword)
    except Exception:  # pydicom's parser raises whatever a broken answer makes of it
        return []
    if value is None:
        return []
    values = [value] if isinstance(value, str | int) or not hasattr(value, "__iter__") else list(value)
    return [str(one).strip() for one in values]
