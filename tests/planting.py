"""A study with canaries in whatever could name a person, a place or an institution."""

from __future__ import annotations

from typing import Any

import numpy as np
from dicom_builder import image, item
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset, FileDataset
from pydicom.tag import Tag

from medvqa.dicom.headers import TAGS

HEADER_CANARY = "CANARYQX7"
"""In attributes; short enough for every value representation."""
DATE_CANARY = "19010203"
TEXT_VALUES = {
    **dict.fromkeys(("LO", "SH", "ST", "LT", "UT", "UC", "PN", "AE", "UR"), HEADER_CANARY),
    "DA": DATE_CANARY,
    "DT": f"{DATE_CANARY}040506",
}
"""Of each value representation that can hold words or dates."""
PATIENT_GROUP = 0x0010


def planted(pixels: np.ndarray, **elements: Any) -> FileDataset:
    """An image with canaries in every attribute of words or dates, in sequences and in private attributes."""
    dataset = image(pixels, WindowCenter=100, WindowWidth=400, **elements)
    for tag, (vr, *_) in DicomDictionary.items():
        if 0x0008 <= tag >> 16 < 0x5000 and Tag(tag) not in dataset:
            plant(dataset, tag, vr)
    block = dataset.private_block(0x0009, f"{HEADER_CANARY} 1.0", create=True)
    block.add_new(0x01, "LO", HEADER_CANARY)
    block.add_new(0x02, "OB", HEADER_CANARY.encode() + b"\0")
    macro = item(PixelSpacing=[0.5, 0.5], PatientName=HEADER_CANARY, PatientComments=HEADER_CANARY)
    dataset.SharedFunctionalGroupsSequence = [
        item(PixelMeasuresSequence=[macro], PatientID=HEADER_CANARY, InstitutionName=HEADER_CANARY)
    ]
    return dataset


def plant(dataset: Dataset, tag: int, vr: str) -> None:
    """Put a canary into one attribute, where its value representation can hold one."""
    if vr in TEXT_VALUES:
        dataset.add_new(tag, vr, TEXT_VALUES[vr])
    elif vr == "CS" and tag >> 16 == PATIENT_GROUP:
        dataset.add_new(tag, vr, HEADER_CANARY)
    elif vr == "SQ" and tag not in TAGS:
        nested = item(PatientName=HEADER_CANARY, PatientID=HEADER_CANARY, PatientBirthDate=DATE_CANARY)
        dataset.add_new(tag, vr, [nested])
