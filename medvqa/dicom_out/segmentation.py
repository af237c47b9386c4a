"""Regions of one image as a binary Segmentation (PS3.3 A.51), one segment a region."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationTypeValues,
    SegmentDescription,
)
from pydicom.sr.codedict import codes

from medvqa.dicom.instances import derive_uid
from medvqa.dicom_out import coding
from medvqa.dicom_out.provenance import as_short_text, cut, finish, identify, identify_algorithm
from medvqa.dicom_out.sources import refer_to
from medvqa.types import NOT_FOR_DIAGNOSIS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medvqa.dicom_out.provenance import Origin
    from medvqa.dicom_out.regions import Region
    from medvqa.dicom_out.sources import SourceImage


def segmentation(regions: Sequence[Region], origin: Origin, source: SourceImage) -> Segmentation:
    """Regions on the pixel matrix of their image, in its plane where it has one.

    Args:
        regions: Of one image, one or more; they may overlap.
        origin: Of the object.
        source: What the image is a frame of.
    """
    made = Segmentation(
        source_images=[source.stand_in],
        pixel_array=np.stack([region.bits for region in regions], axis=-1)[np.newaxis],
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _describe(number, region, origin) for number, region in enumerate(regions, start=1)
        ],
        content_label="REGIONS",
        content_description="Research software: not for diagnostic use",
        omit_empty_frames=False,
        coding_schemes=coding.coding_schemes(),
        **identify(origin, source, series="Regions: research, not for diagnosis"),
    )
    if not source.has_plane:
        made.PatientOrientation = list(source.patient_orientation)
    refer_to(made, source)
    finish(made, origin, source.header)
    return made


def _describe(number: int, region: Region, origin: Origin) -> SegmentDescription:
    """Where something is said to be; what it is, is the model's word and no coded finding."""
    segment = SegmentDescription(
        segment_number=number,
        segment_label=cut(region.label),
        segmented_property_category=codes.SCT.SpatialAndRelationalConcept,
        segmented_property_type=region.kind,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=identify_algorithm(origin),
        tracking_uid=derive_uid("medvqa tracking", origin.subject, f"region {number}"),
        tracking_id=cut(f"{origin.subject} region {number}"),
    )
    score = () if region.score is None else (f"Score of the model: {region.score:.3f}.",)
    segment.SegmentDescription = as_short_text([NOT_FOR_DIAGNOSIS, f"{region.kind.meaning}.", *score])
    return segment
