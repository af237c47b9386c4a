"""The DICOM objects of a simulated finding: derived images and the SEG of the truth.

Every attribute is written here: none is copied from a file, so that no patient's can slip through. An image
is a Secondary Capture (PS3.3 A.8.1), the class that promises nothing about an acquisition, in the modality
of its origin, and with the Image Plane attributes of its origin where there are any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationTypeValues,
    SegmentDescription,
)
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medvqa.simulated_findings.origins import Origin
    from medvqa.simulation import Kind
    from medvqa.types import Pixels

NAME = "SIMULATED"
WHITE = 4095
"""Stored value of display intensity 1: 12 bits are stored."""
_MANUFACTURER = "medvqa"
_SERIES = {
    "without": (1, "Simulated: without finding"),
    "with": (2, "Simulated: with finding"),
    "mirrored": (3, "Simulated: with finding, mirrored"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the three images and two SEGs of one finding share."""

    identifier: str
    """Patient ID and Study ID: says which simulation this is."""
    entropy: str
    """All UIDs follow from it."""
    version: str
    """Of medvqa."""

    def uid(self, name: str) -> UID:
        """UID of the study, or of a series, instance or frame of reference of this case."""
        return generate_uid(entropy_srcs=["medvqa simulated finding", self.entropy, name])


def store(pixels: Pixels) -> NDArray[np.uint16]:
    """Stored values of display intensities in [0, 1]; `stored / WHITE` is what `present` shows of them."""
    return np.rint(pixels * WHITE).astype(np.uint16)


def image_instance(stored: NDArray[np.uint16], *, role: str, origin: Origin, case: Case) -> FileDataset:
    """One derived image.

    Args:
        stored: From `store`, shape (rows, columns).
        role: `without`, `with` or `mirrored`.
        origin: Says modality and geometry.
        case: Says whose study it is.
    """
    dataset = _blank(case.uid(role))
    number, description = _SERIES[role]
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = case.uid("study"), case.uid(f"series {role}")
    dataset.PatientName, dataset.PatientID = f"{NAME}^", case.identifier
    dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = NAME, number, 1
    dataset.SeriesDescription, dataset.Modality = description, origin.modality
    dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    dataset.DerivationDescription = "Simulated by medvqa; not a patient's finding"
    dataset.Manufacturer, dataset.SoftwareVersions = _MANUFACTURER, case.version
    dataset.ConversionType = "WSD"
    if origin.burned_in_annotation is not None:
        dataset.BurnedInAnnotation = origin.burned_in_annotation
    if origin.lossy:
        dataset.LossyImageCompression = "01"
    _add_geometry(dataset, origin, case.uid("mirrored plane" if role == "mirrored" else "plane"))
    _add_pixels(dataset, stored)
    return dataset


def segmentation_instance(
    image: FileDataset, mask: NDArray[np.bool_], *, kind: Kind, case: Case
) -> Segmentation:
    """The truth about `image` as a binary SEG (PS3.3 A.51) of one segment.

    Args:
        image: From `image_instance`.
        mask: Shape (rows, columns) of the image, not empty.
        kind: Names the segment.
        case: As for the image.
    """
    category, coded = _CODES[kind]
    algorithm = AlgorithmIdentificationSequence(name="medvqa simulation", version=case.version, family=_DRAWN)
    segment = SegmentDescription(
        segment_number=1,
        segment_label=f"simulated {kind}",
        segmented_property_category=category,
        segmented_property_type=coded,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
    )
    role = f"truth {image.SeriesNumber}"
    segmentation = Segmentation(
        source_images=[image],
        pixel_array=mask[np.newaxis],
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        series_instance_uid=case.uid(f"series {role}"),
        series_number=int(image.SeriesNumber) + 10,
        sop_instance_uid=case.uid(role),
        instance_number=1,
        manufacturer=_MANUFACTURER,
        manufacturer_model_name="medvqa simulation",
        software_versions=case.version,
        device_serial_number="0",
        content_label=NAME,
        series_description=f"Simulated: truth of series {image.SeriesNumber}",
        omit_empty_frames=False,
    )
    # highdicom 0.28 writes pixel measures without a thickness but does not read them: one pixel's is given.
    for measures in segmentation.SharedFunctionalGroupsSequence[0].get("PixelMeasuresSequence", ()):
        measures.SliceThickness = measures.PixelSpacing[0]
    return segmentation


def _blank(sop_instance_uid: UID) -> FileDataset:
    """An image with the attributes that must be there and hold nothing."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = sop_instance_uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, sop_instance_uid
    dataset.PatientBirthDate, dataset.PatientSex = "", ""
    dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber = "", "", ""
    dataset.ReferringPhysicianName, dataset.PatientOrientation = "", ""
    return dataset


def _add_geometry(dataset: FileDataset, origin: Origin, frame_of_reference_uid: str) -> None:
    """Write spacing, and the plane where all of it is known; a mirrored plane is one of another patient."""
    if origin.pixel_spacing_mm is None:
        return
    dataset.PixelSpacing = [format_number_as_ds(value) for value in origin.pixel_spacing_mm]
    if origin.orientation is None or origin.position is None:
        return
    dataset.ImageOrientationPatient = [format_number_as_ds(float(value)) for value in origin.orientation]
    dataset.ImagePositionPatient = [format_number_as_ds(float(value)) for value in origin.position]
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = frame_of_reference_uid, ""
    dataset.SliceThickness = None


def _add_pixels(dataset: FileDataset, stored: NDArray[np.uint16]) -> None:
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    # Under LINEAR (PS3.3 C.11.2.1.2.1) this shows exactly stored / WHITE.
    dataset.WindowCenter, dataset.WindowWidth = (WHITE + 1) // 2, WHITE + 1
    dataset.PixelData = stored.astype("<u2").tobytes()


# No family of CID 7162 draws what it segments.
_DRAWN = Code("SIMULATION", "99MEDVQA", "Simulation")
_LESION = codes.SCT.MorphologicallyAbnormalStructure
_OBJECT = codes.SCT.PhysicalObject
_CODES: Mapping[Kind, tuple[Code, Code]] = MappingProxyType(
    {
        "nodule": (_LESION, codes.SCT.Nodule),
        "opacity": (_LESION, codes.DCM.Opacity),
        "mass": (_LESION, codes.SCT.Mass),
        "line": (_OBJECT, codes.SCT.Catheter),
        "marker": (_OBJECT, codes.SCT.BodyReferencePointMarker),
    }
)
"""Segmented Property Category (CID 7150) and Type of each kind."""
