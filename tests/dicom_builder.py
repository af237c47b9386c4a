"""DICOM files built in code: what every test of reading starts from. No real patient is in here."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

STUDY_UID = "1.2.826.0.1.3680043.10.1"
SERIES_UID = "1.2.826.0.1.3680043.10.1.1"
AXIAL = [1, 0, 0, 0, 1, 0]
CANARY = "CANARY"


def gradient(rows: int = 8, columns: int = 6, *, dtype: Any = np.int16) -> np.ndarray:
    """Stored pixels that differ from each other, shape (rows, columns)."""
    return np.arange(rows * columns, dtype=dtype).reshape(rows, columns)


def image(
    pixels: np.ndarray | None = None,
    *,
    number: int = 1,
    transfer_syntax: UID = ExplicitVRLittleEndian,
    **elements: Any,
) -> FileDataset:
    """Build one image, a CT slice unless `elements` say otherwise; an element given as None is left out.

    Args:
        pixels: Stored values, (rows, columns), (rows, columns, 3) or (frames, rows, columns).
        number: Instance Number, and the last component of the SOP Instance UID.
        transfer_syntax: An uncompressed one.
        elements: By keyword; they replace the defaults.
    """
    pixels = gradient() if pixels is None else pixels
    color = pixels.ndim == 3 and pixels.shape[-1] == 3
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = transfer_syntax
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.set_original_encoding(transfer_syntax.is_implicit_VR, transfer_syntax.is_little_endian)
    bits = pixels.dtype.itemsize * 8
    rows, columns = pixels.shape[:2] if color else pixels.shape[-2:]
    order = "<" if transfer_syntax.is_little_endian else ">"
    values: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": f"{SERIES_UID}.{number}",
        "StudyInstanceUID": STUDY_UID,
        "SeriesInstanceUID": SERIES_UID,
        "SeriesNumber": 1,
        "InstanceNumber": number,
        "Modality": "CT",
        "ImageOrientationPatient": AXIAL,
        "ImagePositionPatient": [0, 0, number],
        "PixelSpacing": [0.5, 0.5],
        "SamplesPerPixel": 3 if color else 1,
        "PlanarConfiguration": 0 if color else None,
        "PhotometricInterpretation": "RGB" if color else "MONOCHROME2",
        "NumberOfFrames": pixels.shape[0] if pixels.ndim == 3 and not color else None,
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(np.issubdtype(pixels.dtype, np.signedinteger)),
        "RescaleSlope": None if color else 1,
        "RescaleIntercept": None if color else 0,
        "PixelData": pixels.astype(pixels.dtype.newbyteorder(order)).tobytes(),
        **elements,
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    if "PixelData" in dataset:
        dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    meta.MediaStorageSOPClassUID = values["SOPClassUID"] or CTImageStorage
    meta.MediaStorageSOPInstanceUID = values["SOPInstanceUID"] or f"{SERIES_UID}.{number}"
    return dataset


def enhanced(pixels: np.ndarray, *, per_frame: list[dict[str, Dataset]], **shared: Dataset) -> FileDataset:
    """Build an enhanced multi-frame CT of stored values (frames, rows, columns).

    Args:
        pixels: Stored values.
        per_frame: Of each frame, macro keyword to its item, such as `PlanePositionSequence`.
        shared: Macro keyword to its item, for all frames.
    """
    dataset = image(
        pixels,
        SOPClassUID=EnhancedCTImageStorage,
        ImageOrientationPatient=None,
        ImagePositionPatient=None,
        PixelSpacing=None,
        RescaleSlope=None,
        RescaleIntercept=None,
    )
    dataset.SharedFunctionalGroupsSequence = [item(**{keyword: [macro] for keyword, macro in shared.items()})]
    dataset.PerFrameFunctionalGroupsSequence = [
        item(**{keyword: [macro] for keyword, macro in group.items()}) for group in per_frame
    ]
    return dataset


def item(**elements: Any) -> Dataset:
    """Build a sequence item from keywords."""
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def lookup_table(*, first: int, bits: int, entries: list[int], signed: bool = False) -> Dataset:
    """Build an item of a Modality LUT or VOI LUT Sequence."""
    dataset = Dataset()
    dataset.add_new("LUTDescriptor", "SS" if signed else "US", [len(entries), first, bits])
    dataset.add_new("LUTData", "OW", np.asarray(entries, dtype="<u2").tobytes())
    return dataset


def planted(dataset: FileDataset) -> FileDataset:
    """Plant a canary in what names a patient; no notice or error may repeat it."""
    for keyword in (
        "PatientName",
        "PatientID",
        "ReferringPhysicianName",
        "InstitutionName",
        "StudyDescription",
    ):
        setattr(dataset, keyword, f"{CANARY}^{keyword}")
    dataset.PatientBirthDate = "19010203"
    dataset.AccessionNumber = f"{CANARY}ACC"
    return dataset


def to_bytes(dataset: FileDataset) -> bytes:
    """Return the file as it would lie on disk."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def write(path: Path, dataset: FileDataset) -> Path:
    """Write the file, making its folder, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_bytes(dataset))
    return path
