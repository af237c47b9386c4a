"""A heatmap over its image as a Secondary Capture (PS3.3 A.8.1), for viewers that know no maps."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
from highdicom import SOPClass
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from medvqa.dicom.instances import HEATMAP_CAPTURE
from medvqa.dicom_out.provenance import as_short_text, finish, identify
from medvqa.dicom_out.sources import refer_to
from medvqa.dicom_out.wording import caption_heatmap, describe_heatmap
from medvqa.heatmaps.overlay import overlay

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medvqa.dicom_out.provenance import Origin
    from medvqa.dicom_out.sources import SourceImage
    from medvqa.types import Heatmap, Image

_NARROWEST, _LETTER, _LINE = 320, 8, 18
"""Of the words below an image, in pixels."""


def secondary_capture(
    image: Image, heatmap: Heatmap, question: str, origin: Origin, source: SourceImage
) -> SOPClass:
    """The image as it was shown, under its map, with words below it in the pixels.

    Row and column of each pixel of the image are those it has in the source.

    Args:
        image: The one asked about.
        heatmap: Of it.
        question: Whose answer the map explains.
        origin: Of the object.
        source: What the image is a frame of.
    """
    pixels = draw_captioned(overlay(image, heatmap.values), caption_heatmap(heatmap))
    capture = SOPClass(
        study_instance_uid=source.stand_in.StudyInstanceUID,
        sop_class_uid=SecondaryCaptureImageStorage,
        modality="OT",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        patient_id="",
        patient_name="",
        patient_birth_date="",
        patient_sex="",
        **identify(origin, source, series="Heatmaps over images: not for diagnosis"),
    )
    capture.ConversionType = "WSD"
    capture.ImageType = ["DERIVED", "SECONDARY", "OTHER", HEATMAP_CAPTURE]
    capture.DerivationDescription = as_short_text(describe_heatmap(heatmap, question, origin))
    capture.SourceImageSequence = [_reference(source)]
    capture.PatientOrientation, capture.Laterality = list(source.patient_orientation), source.laterality
    _add_what_the_source_says(capture, source)
    _add_pixels(capture, pixels)
    refer_to(capture, source)
    finish(capture, origin, source.header)
    return capture


def draw_captioned(pixels: NDArray[np.uint8], sentences: list[str]) -> NDArray[np.uint8]:
    """The picture in the upper left corner, with sentences in white on black below it.

    Args:
        pixels: RGB, shape (rows, columns, 3).
        sentences: In Latin letters.

    Returns:
        RGB, as wide as the words need, shape (rows + band, width, 3).
    """
    rows, columns = pixels.shape[:2]
    width = max(columns, _NARROWEST)
    lines = [line for sentence in sentences for line in textwrap.wrap(sentence, width=width // _LETTER)]
    picture = PillowImage.new("RGB", (width, rows + _LINE * (len(lines) + 1)))
    picture.paste(PillowImage.fromarray(pixels), (0, 0))
    place, font = (_LETTER, rows + _LINE // 2), ImageFont.load_default(_LINE * 0.7)
    ImageDraw.Draw(picture).multiline_text(place, "\n".join(lines), fill="white", font=font)
    return np.asarray(picture)


def _add_what_the_source_says(capture: Dataset, source: SourceImage) -> None:
    """Of spacing, of loss, and of whether the pixels tell who the patient is; the words below do not."""
    for keyword in ("PixelSpacing", "LossyImageCompression", "LossyImageCompressionRatio"):
        if keyword in source.stand_in:
            capture[keyword] = source.stand_in[keyword]
    if "LossyImageCompressionMethod" in source.stand_in:
        capture["LossyImageCompressionMethod"] = source.stand_in["LossyImageCompressionMethod"]
    stated = source.header.get("BurnedInAnnotation")
    if stated:
        capture.BurnedInAnnotation = stated


def _add_pixels(capture: Dataset, pixels: NDArray[np.uint8]) -> None:
    capture.Rows, capture.Columns = pixels.shape[:2]
    capture.SamplesPerPixel, capture.PhotometricInterpretation, capture.PlanarConfiguration = 3, "RGB", 0
    capture.BitsAllocated, capture.BitsStored, capture.HighBit, capture.PixelRepresentation = 8, 8, 7, 0
    content = pixels.tobytes()
    capture.PixelData = content + b"\0" * (len(content) % 2)
    capture["PixelData"].VR = "OB"


def _reference(source: SourceImage) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = source.sop_class_uid
    item.ReferencedSOPInstanceUID = source.sop_instance_uid
    return item
