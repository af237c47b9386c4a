"""Every form, made from every kind of source, is what the Standard and its readers take for valid."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from dicom_builder import enhanced, image, item, write
from dicom_validity import require_consistent, require_valid, require_valid_by_docbook
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    UltrasoundImageStorage,
)
from reported import answer
from test_dicom_out import hot, task_done

from audit import Log
from medvqa.dicom_out import DicomObject, make_objects
from medvqa.reading.reviews import review
from medvqa.reading.signatures import sign
from medvqa.records import Agent
from medvqa.reports import compose
from medvqa.sessions import begin_session
from medvqa.simulated_study import write_simulated_study
from medvqa.study import read_study
from medvqa.tasks.results import Box, Boxes

pytestmark = pytest.mark.slow

WITHOUT_PLANE: dict[str, Any] = dict.fromkeys(
    ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing"), None
)
RETIRED_ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6"
COLOUR = np.random.default_rng(4).integers(0, 255, (64, 90, 3)).astype(np.uint8)
GRAY = np.random.default_rng(5).integers(0, 4000, (80, 61)).astype(np.uint16)


def simulated(path: Path) -> Path:
    write_simulated_study(path, seed=7)
    return path


def packaged(name: str) -> Callable[[Path], Path]:
    return lambda _: Path(get_testdata_file(name, download=False) or "")


def built(**elements: Any) -> Callable[[Path], Path]:
    pixels = elements.pop("pixels")
    return lambda path: write(path / "one.dcm", image(pixels, **elements))


def several_frames(path: Path) -> Path:
    stored = np.random.default_rng(6).integers(0, 2000, (3, 32, 40)).astype(np.int16)
    dataset = enhanced(
        stored,
        per_frame=[
            {"PlanePositionSequence": item(ImagePositionPatient=[1, 2, float(z)])} for z in (0, 5, 10)
        ],
        PlaneOrientationSequence=item(ImageOrientationPatient=[0.8, 0.6, 0, -0.6, 0.8, 0]),
        PixelMeasuresSequence=item(PixelSpacing=[0.7, 1.3], SliceThickness=5),
    )
    dataset.FrameOfReferenceUID, dataset.PatientName, dataset.PatientID = "1.2.3.4", "Doe^J", "4711"
    return write(path / "several.dcm", dataset)


def colour_frames(path: Path) -> Path:
    """Of the class that it should have."""
    dataset = dcmread(get_testdata_file("SC_rgb_rle_2frame.dcm", download=False) or "")
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = (
        MultiFrameTrueColorSecondaryCaptureImageStorage
    )
    path.mkdir()
    dataset.save_as(path / "two.dcm", enforce_file_format=True)
    return path / "two.dcm"


SOURCES: dict[str, tuple[Callable[[Path], Path], bool]] = {
    "simulated": (simulated, True),
    "CT": (packaged("CT_small.dcm"), True),
    "MR": (packaged("MR_small.dcm"), True),
    "MR, big endian": (packaged("MR_small_bigendian.dcm"), True),
    "enhanced": (several_frames, True),
    "colour": (packaged("examples_rgb_color.dcm"), False),
    "palette": (packaged("examples_palette.dcm"), False),
    "colour frames": (colour_frames, False),
    "ultrasound": (
        built(pixels=COLOUR, SOPClassUID=UltrasoundImageStorage, Modality="US", **WITHOUT_PLANE),
        False,
    ),
    "ultrasound, retired": (
        built(pixels=COLOUR, SOPClassUID=RETIRED_ULTRASOUND, Modality="US", **WITHOUT_PLANE),
        False,
    ),
    "DX": (
        built(
            pixels=GRAY,
            SOPClassUID=DigitalXRayImageStorageForPresentation,
            Modality="DX",
            PatientOrientation=["L", "F"],
            Laterality="L",
            BurnedInAnnotation="NO",
            **WITHOUT_PLANE,
        ),
        False,
    ),
    "CR, spacing alone": (
        built(pixels=GRAY, Modality="CR", **(WITHOUT_PLANE | {"PixelSpacing": [0.2, 0.1]})),
        False,
    ),
    "frames of a class that knows no plane": (
        built(
            pixels=np.stack([GRAY, GRAY]).astype(np.uint8),
            SOPClassUID=MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
            **WITHOUT_PLANE,
        ),
        False,
    ),
}
"""How each is made, and whether it lies somewhere in the patient."""

READERS: dict[str, Callable[[Any], Dataset]] = {
    "sr": hd.sr.srread,
    "map": hd.pm.ParametricMap.from_file,
    "capture": hd.imread,
    "seg": hd.seg.segread,
    "pdf": dcmread,
}


@pytest.fixture(params=SOURCES)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, list[DicomObject]]]:
    """The source and all its objects: of an answer with a map, one that is signed, one struck, and boxes."""
    make, has_plane = SOURCES[request.param]
    path = make(tmp_path / "source")
    study = read_study(path)
    place = len(study.images) - 1
    with Log(f"sqlite:///{tmp_path / 'trail.sqlite'}") as log:
        session = begin_session(log, Agent(name="dr-17"), key_folder=tmp_path / "keys")
        shown = answer(session, study, "yes", place=place)
        signed = answer(session, study, "ja, 是", place=place)
        answer(session, study, "maybe", place=place, verdict="unsure")
        review(session, signed, verdict="amend", text="nein")
        sign(session, signed, meaning="reviewed and approved")
        picture = study.images[place]
        rows, columns = picture.shape
        box = Box(label="nodule", top=1, left=2, bottom=9.5, right=8)
        task_done(session, study, Boxes(rows=rows, columns=columns, boxes=(box,)), place=place)
        report = compose(session, study, heatmaps={shown: hot(picture, rows // 2, columns // 3)})
        objects = list(make_objects(session, path, study, report))
    forms = [one.form for one in objects]
    assert forms == [*["sr"] * 4, *["map"] * has_plane, "capture", *["seg"] * 2, "pdf"]
    yield path, objects


def test_validators_and_readers_take_each_object(
    made: tuple[Path, list[DicomObject]], tmp_path: Path
) -> None:
    path, objects = made
    files = [path] if path.is_file() else sorted(path.iterdir())
    for number, one in enumerate(objects):
        file = tmp_path / f"{number}.dcm"
        file.write_bytes(one.to_bytes())
        require_valid(file)
        files.append(file)
        assert READERS[one.form](io.BytesIO(one.to_bytes())).SOPInstanceUID == one.sop_instance_uid
    require_consistent(files)


def test_the_standards_own_sources_find_no_fault(
    made: tuple[Path, list[DicomObject]], tmp_path: Path
) -> None:
    for number, one in enumerate(made[1]):
        file = tmp_path / f"{number}.dcm"
        file.write_bytes(one.to_bytes())
        require_valid_by_docbook(file)
