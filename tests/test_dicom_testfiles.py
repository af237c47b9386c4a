"""Every file that pydicom tests itself with is read, or refused in one sentence."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom.data
import pytest
from pydicom.pixels import pixel_array

from medvqa import gate
from medvqa.errors import DicomError, PixelError
from medvqa.study import read_study

ROOT = Path(pydicom.data.__file__).parent / "test_files"
# Only what lies in the wheel: `get_testdata_files` would fetch the rest.
FILES = sorted(path for path in ROOT.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"})

NO_IMAGE = {
    "DICOMDIR", "DICOMDIR-bigEnd", "DICOMDIR-empty.dcm", "DICOMDIR-implicit", "DICOMDIR-nooffset",
    "DICOMDIR-nopatient", "DICOMDIR-reordered", "ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm",
    "README", "README.txt", "UN_sequence.dcm", "badVR.dcm", "crayons.icc", "empty_charset_LEI.dcm",
    "meta_missing_tsyntax.dcm", "nested_priv_SQ.dcm", "no_meta.dcm", "no_meta_group_length.dcm",
    "priv_SQ.dcm", "reportsi.dcm", "reportsi_with_empty_number_tags.dcm", "rtplan.dcm", "rtplan.dump",
    "rtplan_truncated.dcm", "rtstruct.dcm", "rtstruct.dump", "test-SR.dcm", "test1.json", "test_PN.json",
    "waveform_ecg.dcm", "zipMR.gz",
}  # fmt: skip
BROKEN_PIXELS = {
    "JPEG-lossy.dcm",  # 12-bit JPEG, for which only a GPL decoder exists
    "JPGExtended.dcm",  # the same
    "JPEG2000-embedded-sequence-delimiter.dcm",  # its code stream is damaged on purpose
    "MR_truncated.dcm",  # 62 bytes are missing
}


def expectation(path: Path) -> str:
    if path.name in NO_IMAGE or "TINY_ALPHA" in path.parts:
        return "no image"
    return "broken pixels" if path.name in BROKEN_PIXELS else "image"


@pytest.mark.usefixtures("no_network")
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_each_file_is_read_or_refused_in_one_sentence(path: Path) -> None:
    try:
        study = read_study(path)
        for one in study.images:
            assert one.pixels.dtype == np.float32
            assert one.pixels.min() >= 0
            assert one.pixels.max() <= 1
            assert not one.pixels.flags.writeable
        outcome = "image"
        assert {notice.code for notice in study.warnings} <= EXPECTED_NOTICES
    except PixelError as error:
        outcome = "broken pixels"
        assert_one_sentence(error, path)
    except DicomError as error:
        outcome = "no image"
        assert_one_sentence(error, path)
    assert outcome == expectation(path)


EXPECTED_NOTICES = {
    "derived_object", "lossy_compression", "missing_modality", "missing_uid", "non_square_pixels",
    "overlay_ignored",
}  # fmt: skip


def assert_one_sentence(error: DicomError, path: Path) -> None:
    text = str(error)
    assert path.name in text
    assert "; " in text
    assert len(text) < 260
    assert "\n" not in text
    assert "Traceback" not in text
    assert "Error" not in text


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_whatever_pydicom_decodes_is_an_image_here_too() -> None:
    for path in FILES:
        try:
            frames = np.atleast_3d(pixel_array(path))
        except Exception:  # noqa: S112  what pydicom refuses is not the question here
            continue
        assert frames.size
        assert expectation(path) == "image", path.name


@pytest.mark.parametrize(
    "path", [path for path in FILES if expectation(path) == "image"], ids=lambda p: p.name
)
def test_the_gate_lets_every_image_through(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        first = read_study(path).images[0]
    gate.check_image(first, modalities=frozenset({"CT"}))


def test_a_folder_of_many_studies_is_refused_and_one_can_be_named() -> None:
    folder = ROOT / "dicomdirtests"
    with pytest.raises(DicomError, match=r"holds \d+ studies; pass one study's folder") as caught:
        read_study(folder)
    uid = str(caught.value).split(": ")[1].split(",")[0]
    assert read_study(folder, study_instance_uid=uid).study_instance_uid == uid
