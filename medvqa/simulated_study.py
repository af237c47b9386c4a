"""A whole DICOM study that is simulated: head phantoms, with nodules whose place is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from medvqa.simulation import Nodule, insert_nodule, phantom, place_nodule

if TYPE_CHECKING:
    from pathlib import Path

    from medvqa.types import Pixels

_SLICES = 3
_SHAPE = (240, 216)
_SPACING_MM = (0.9, 0.9)
_SLICE_DISTANCE_MM = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedSlice:
    """What is known about one slice of a simulated study."""

    image_number: int
    """From 1, in geometric order."""
    nodule: Nodule | None
    shape: tuple[int, int]


def write_simulated_study(folder: Path, *, seed: int) -> tuple[SimulatedSlice, ...]:
    """Write an MR study of three head phantoms: the first without, the others with a simulated nodule.

    Files carry no patient; their UIDs follow from `seed`, so that a second run writes the same study.

    Args:
        folder: Made if need be; files of an earlier run are overwritten.
        seed: Of phantoms and places.

    Returns:
        The truth, slice by slice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    slices: list[SimulatedSlice] = []
    for number in range(1, _SLICES + 1):
        pixels = phantom("brain", rng, shape=_SHAPE)
        nodule = None if number == 1 else place_nodule(pixels, rng)
        shown = pixels if nodule is None else insert_nodule(pixels, nodule)
        _instance(shown, number=number, seed=seed).save_as(
            folder / f"slice-{number}.dcm", enforce_file_format=True
        )
        slices.append(SimulatedSlice(image_number=number, nodule=nodule, shape=_SHAPE))
    return tuple(slices)


def _instance(pixels: Pixels, *, number: int, seed: int) -> FileDataset:
    """One MR Image (PS3.3 A.4) with 12 bits stored."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = _uid(seed, f"instance {number}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _uid(seed, "study"), _uid(seed, "series")
    dataset.FrameOfReferenceUID = _uid(seed, "frame of reference")
    dataset.Modality, dataset.BodyPartExamined = "MR", "HEAD"
    dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    dataset.SeriesDescription = "Simulated head phantom"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = "", "", "", ""
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "", "", ""
    dataset.AccessionNumber, dataset.ReferringPhysicianName, dataset.Manufacturer = "", "", "medvqa"
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "RM", "NONE", ""
    dataset.MRAcquisitionType, dataset.EchoTime, dataset.EchoTrainLength = "2D", None, None
    dataset.SeriesNumber, dataset.InstanceNumber = 1, number
    dataset.PositionReferenceIndicator = ""
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [-97, -108, _SLICE_DISTANCE_MM * number]
    dataset.PixelSpacing, dataset.SliceThickness = list(_SPACING_MM), _SLICE_DISTANCE_MM
    dataset.BurnedInAnnotation = "NO"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    dataset.PixelData = np.rint(pixels * 4095).astype("<u2").tobytes()
    return dataset


def _uid(seed: int, name: str) -> UID:
    return generate_uid(entropy_srcs=["medvqa simulated study", str(seed), name])
