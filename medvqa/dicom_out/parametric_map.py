"""A heatmap as a Parametric Map (PS3.3 A.75): floating point, on the pixel matrix of its image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from highdicom import VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from pydicom.sr.codedict import codes

from medvqa.dicom_out import coding
from medvqa.dicom_out.provenance import as_short_text, cut, finish, identify
from medvqa.dicom_out.sources import refer_to
from medvqa.dicom_out.wording import describe_heatmap

if TYPE_CHECKING:
    from medvqa.dicom_out.provenance import Origin
    from medvqa.dicom_out.sources import SourceImage
    from medvqa.types import Heatmap


def parametric_map(heatmap: Heatmap, question: str, origin: Origin, source: SourceImage) -> ParametricMap:
    """The map's values as they are, in the plane of the frame that they explain.

    Args:
        heatmap: On the pixel matrix of the source.
        question: Whose answer it explains.
        origin: Of the object.
        source: With a plane: an object of this class has a frame of reference (PS3.3 A.75.3).
    """
    quantity = coding.METHODS[heatmap.method]
    mapping = RealWorldValueMapping(
        lut_label="HEATMAP",
        lut_explanation=cut(f"{quantity.meaning}, share of the map's maximum"),
        unit=codes.UCUM.NoUnits,
        value_range=(0.0, 1.0),
        slope=1,
        intercept=0,
        quantity_definition=quantity,
    )
    made = ParametricMap(
        source_images=[source.stand_in],
        pixel_array=np.ascontiguousarray(heatmap.values, dtype=np.float32)[np.newaxis],
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[VOILUTTransformation(window_center=0.5, window_width=1.0)],
        content_label=heatmap.method.upper()[:16],
        content_description=cut(f"Research, not for diagnosis. Explains {heatmap.explained}"),
        coding_schemes=coding.coding_schemes(),
        **identify(origin, source, series="Heatmaps: research, not for diagnosis"),
    )
    made.Laterality = source.laterality
    refer_to(made, source)
    derivation = made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0]
    derivation.DerivationDescription = as_short_text(describe_heatmap(heatmap, question, origin))
    finish(made, origin, source.header)
    return made
