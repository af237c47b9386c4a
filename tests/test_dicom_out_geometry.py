"""A pixel that is marked lies where it was, in the patient and in its image, once written and read again."""

from __future__ import annotations

import io
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from dicom_builder import image as build
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from tiny_models import IDENTITY

from audit import Event
from medvqa.dicom_out import Form
from medvqa.dicom_out.parametric_map import parametric_map
from medvqa.dicom_out.provenance import Origin
from medvqa.dicom_out.regions import region_of_heatmap
from medvqa.dicom_out.segmentation import segmentation
from medvqa.dicom_out.sources import SourceImage, describe_source
from medvqa.dicom_out.structured_report import report_regions
from medvqa.types import Heatmap, Image, ImageRef

SPACINGS = st.floats(0.05, 8)
COORDINATES = st.floats(-2000, 2000)


@st.composite
def planes(draw: st.DrawFn) -> Image:
    """An image of any shape and pixel, anywhere in the patient and however turned."""
    rows, columns = draw(st.integers(2, 40)), draw(st.integers(2, 40))
    turn = np.array(draw(st.lists(st.floats(-1, 1), min_size=9, max_size=9))).reshape(3, 3)
    axes, _ = np.linalg.qr(turn + 3 * np.eye(3))
    return Image(
        ref=ImageRef(
            study_instance_uid="1.2.3",
            series_instance_uid="1.2.3.4",
            sop_instance_uid="1.2.3.4.5",
            frame_number=1,
            pixel_sha256="",
            file_sha256="",
        ),
        pixels=np.zeros((rows, columns), dtype=np.float32),
        modality="CT",
        pixel_spacing_mm=(draw(SPACINGS), draw(SPACINGS)),
        orientation=tuple(map(float, axes[:, :2].T.reshape(6))),  # type: ignore[arg-type]
        position=(draw(COORDINATES), draw(COORDINATES), draw(COORDINATES)),
    )


@st.composite
def marked(draw: st.DrawFn) -> tuple[Image, int, int]:
    """Such an image and one of its pixels."""
    image = draw(planes())
    rows, columns = image.shape
    return image, draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))


@settings(max_examples=6)
@given(marked())
def test_a_marked_pixel_keeps_its_place(case: tuple[Image, int, int]) -> None:
    keeps_its_place(case)


@pytest.mark.slow
@settings(max_examples=100)
@given(marked())
def test_any_marked_pixel_keeps_its_place(case: tuple[Image, int, int]) -> None:
    keeps_its_place(case)


def keeps_its_place(case: tuple[Image, int, int]) -> None:
    image, row, column = case
    source, heatmap = source_of(image), one_hot(image, row, column)
    region = region_of_heatmap(heatmap)
    assert region is not None
    for made in (
        parametric_map(heatmap, "Where?", origin("map"), source),
        segmentation([region], origin("seg"), source),
    ):
        written = read(made)
        values = written.get_frames(dtype=np.float64)[0]
        (at,) = np.argwhere(values == values.max())
        assert (values > 0).sum() == 1
        place = in_patient(plane_of(written), at)
        expected = in_patient(
            (image.position, image.orientation, image.pixel_spacing_mm), np.array([row, column])
        )
        smallest = min(image.pixel_spacing_mm or ())
        assert np.linalg.norm(place - expected) < 0.01 * smallest
        back = hd.spatial.ReferenceToPixelTransformer(
            image_position=image.position,
            image_orientation=image.orientation,
            pixel_spacing=image.pixel_spacing_mm,
            round_output=False,
            drop_slice_index=True,
        )
        assert np.abs(back(place[np.newaxis])[0] - [column, row]).max() < 0.1
    document = hd.sr.srread(io.BytesIO(to_bytes(report_regions([region], origin("sr"), source))))
    (group,) = document.content.get_planar_roi_measurement_groups()
    assert group.roi.value.min(0).tolist() == [column, row]
    assert group.roi.value.max(0).tolist() == [column + 1, row + 1]


def one_hot(image: Image, row: int, column: int) -> Heatmap:
    values = np.zeros(image.shape, dtype=np.float32)
    values[row, column] = 1
    return Heatmap(
        method="occlusion", values=values, grid=(1, 1), explained="log p(answer)", draw=lambda _: None
    )


def source_of(image: Image) -> SourceImage:
    header = build(
        np.zeros(image.shape, dtype=np.uint8),
        StudyInstanceUID=image.ref.study_instance_uid,
        SeriesInstanceUID=image.ref.series_instance_uid,
        SOPInstanceUID=image.ref.sop_instance_uid,
        FrameOfReferenceUID="1.2.3.9",
    )
    return describe_source(header, image)


def origin(form: Form) -> Origin:
    event = Event(
        agent="dr-17",
        action="answer",
        subject="1",
        entity={"model": asdict(IDENTITY)},
        model="0" * 64,
        sequence=1,
        recorded=datetime(2026, 1, 2, tzinfo=UTC),
        hash="1" * 64,
    )
    return Origin(form=form, subject="1", events=(event,))


def read(made: Dataset) -> Any:
    written = dcmread(io.BytesIO(to_bytes(made)))
    return (hd.pm.ParametricMap if "FloatPixelData" in written else hd.seg.Segmentation).from_dataset(written)


def to_bytes(made: Dataset) -> bytes:
    out = io.BytesIO()
    made.save_as(out, enforce_file_format=True)
    return out.getvalue()


def plane_of(written: Dataset) -> tuple[Any, Any, Any]:
    shared = written.SharedFunctionalGroupsSequence[0]
    frame = written.PerFrameFunctionalGroupsSequence[0]
    return (
        frame.PlanePositionSequence[0].ImagePositionPatient,
        shared.PlaneOrientationSequence[0].ImageOrientationPatient,
        shared.PixelMeasuresSequence[0].PixelSpacing,
    )


def in_patient(plane: tuple[Any, Any, Any], pixel: NDArray[Any]) -> NDArray[np.float64]:
    """Millimetres of the centre of a pixel, by the equation of PS3.3 C.7.6.2.1.1."""
    position, orientation, spacing = (np.array(part, dtype=np.float64) for part in plane)
    return position + orientation[:3] * spacing[1] * pixel[1] + orientation[3:] * spacing[0] * pixel[0]
