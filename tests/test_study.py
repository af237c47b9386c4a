"""A study from files, folders and archives, as a user would pass them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from dicom_builder import (
    CANARY,
    SERIES_UID,
    STUDY_UID,
    enhanced,
    gradient,
    image,
    item,
    planted,
    to_bytes,
    write,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import MPEG2MPML, UID, DeflatedExplicitVRLittleEndian, SegmentationStorage

import medvqa.study
from medvqa.errors import DicomError, LimitError, PixelError
from medvqa.study import Limits, read_study
from medvqa.types import Study


def picture(path: Path, *, size: int = 32) -> Path:
    PIL.Image.fromarray(gradient(size, size, dtype=np.uint8)).save(path)
    return path


def zipped(path: Path, members: dict[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def codes(study: Study) -> list[str]:
    return [notice.code for notice in study.warnings]


def heights(study: Study) -> list[float]:
    return [one.position[2] for one in study.images if one.position is not None]


def test_one_file(tmp_path: Path) -> None:
    study = read_study(write(tmp_path / "1.dcm", image()))
    assert study.study_instance_uid == STUDY_UID
    assert study.warnings == ()
    assert len(study.images) == 1
    (one,) = study.images
    assert one.shape == (8, 6)
    assert one.pixel_spacing_mm == (0.5, 0.5)


def test_slices_come_in_geometric_order_whatever_their_names(tmp_path: Path) -> None:
    for name, z in {"z": -3, "a": 9, "m/x": 0}.items():
        write(tmp_path / name, image(number=z + 10, ImagePositionPatient=[0, 0, z]))
    assert heights(read_study(tmp_path)) == [-3, 0, 9]


@settings(max_examples=15, deadline=None)
@given(order=st.permutations([-20, -10, 0, 10, 20]))
def test_a_folder_and_an_archive_agree_in_any_order(tmp_path_factory: Any, order: list[int]) -> None:
    folder: Path = tmp_path_factory.mktemp("study")
    members = {
        f"{name}.dcm": to_bytes(image(number=z + 50, ImagePositionPatient=[0, 0, z]))
        for name, z in enumerate(order)
    }
    for name, data in members.items():
        (folder / name).write_bytes(data)
    archive = zipped(folder.with_suffix(".zip"), members)
    assert heights(read_study(folder)) == heights(read_study(archive)) == sorted(order)
    assert [one.ref for one in read_study(folder).images] == [one.ref for one in read_study(archive).images]


def test_nothing_is_decoded_before_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    original = medvqa.study.decode_frame

    def counted(opened: Any, frame_number: int) -> Any:
        decoded.append(frame_number)
        return original(opened, frame_number)

    monkeypatch.setattr(medvqa.study, "decode_frame", counted)
    stored = np.stack([gradient(), gradient() + 1, gradient() + 2])
    study = read_study(write(tmp_path / "3.dcm", image(stored)))
    assert len(study.images) == 3
    assert decoded == []
    assert study.images[1].ref.frame_number == 2
    assert study.images[1] is study.images[-2]
    assert decoded == [2]
    assert [one.ref.frame_number for one in study.images[1:]] == [2, 3]
    assert decoded == [2, 3]
    with pytest.raises(IndexError):
        study.images[3]


def test_frames_hold_what_the_images_show(tmp_path: Path) -> None:
    stored = np.stack([gradient(), gradient() + 1])
    study = read_study(write(tmp_path / "2.dcm", image(stored, RescaleIntercept=-1000)))
    assert [frame.ref for frame in study.frames] == [shown.ref for shown in study.images]
    assert study.frames[1].values.min() == -999


def test_series_follow_each_other_and_know_their_images(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"a{number}.dcm", image(number=number, SeriesNumber=2))
    for number in range(2):
        other = {"SeriesInstanceUID": f"{SERIES_UID}.9", "SOPInstanceUID": f"{SERIES_UID}.9.{number}"}
        write(tmp_path / f"b{number}.dcm", image(Modality="PT", SeriesNumber=1, **other))
    study = read_study(tmp_path)
    assert [(one.modality, one.images) for one in study.series] == [("PT", range(2)), ("CT", range(2, 5))]
    for series in study.series:
        for place in series.images:
            assert study.images[place].ref.series_instance_uid == series.series_instance_uid


def test_frames_of_an_enhanced_object_are_sorted_by_place(tmp_path: Path) -> None:
    stored = np.stack([gradient() + 100 * frame for frame in range(3)])
    places = [
        {
            "PlanePositionSequence": item(ImagePositionPatient=[0, 0, z]),
            "PlaneOrientationSequence": item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        }
        for z in (7, -7, 0)
    ]
    study = read_study(write(tmp_path / "enhanced.dcm", enhanced(stored, per_frame=places)))
    assert heights(study) == [-7, 0, 7]
    assert [one.ref.frame_number for one in study.images] == [2, 3, 1]


def test_junk_in_a_folder_is_skipped_and_named(tmp_path: Path) -> None:
    write(tmp_path / "1.dcm", image(number=1))
    write(tmp_path / "2.dcm", image(number=2))
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "cut.dcm").write_bytes(to_bytes(image(number=3))[:250])
    write(tmp_path / "report.dcm", image(number=5, PixelData=None, Rows=None, SOPClassUID=UID("1.2.3")))
    picture(tmp_path / "thumbnail.png")
    zipped(tmp_path / "more.zip", {"a": b"b"})
    study = read_study(tmp_path)
    assert len(study.images) == 2
    text = " / ".join(f"{notice.code}: {notice.message}" for notice in study.warnings)
    assert "not_dicom: skipped empty.dcm, more.zip, notes.txt, which is not a DICOM file" in text
    assert "not_an_image: skipped" in text
    assert "report.dcm" in text
    assert "skipped thumbnail.png, which is a PNG or JPEG file beside a DICOM study" in text
    assert "cut.dcm" in text


def test_a_video_is_skipped_by_its_transfer_syntax(tmp_path: Path) -> None:
    dataset = image()
    path = write(tmp_path / "video.dcm", dataset)
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    dataset["PixelData"].is_undefined_length = True
    dataset.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0"
    with pytest.raises(DicomError, match=r"encoded as MPEG2 .*, for which there is no decoder"):
        read_study(write(path, dataset))


def test_a_picture_alone(tmp_path: Path) -> None:
    study = read_study(picture(tmp_path / "1.png"))
    assert codes(study) == ["no_acquisition_data"]
    assert study.images[0].modality == "unknown"
    assert study.images[0].ref.study_instance_uid == study.study_instance_uid
    archive = zipped(tmp_path / "1.zip", {"a/1.png": (tmp_path / "1.png").read_bytes()})
    assert read_study(archive).images[0].ref == study.images[0].ref


def test_several_pictures_are_no_study(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", size=32)
    picture(tmp_path / "2.png", size=33)
    with pytest.raises(DicomError, match="holds 2 PNG or JPEG files"):
        read_study(tmp_path)


def test_several_studies_need_one_to_be_named(tmp_path: Path) -> None:
    write(tmp_path / "1.dcm", image(number=1))
    write(tmp_path / "2.dcm", image(number=2, StudyInstanceUID="1.2.9"))
    with pytest.raises(DicomError, match=rf"holds 2 studies; .*: {STUDY_UID}, 1\.2\.9"):
        read_study(tmp_path)
    study = read_study(tmp_path, study_instance_uid="1.2.9")
    assert [one.ref.sop_instance_uid[-1] for one in study.images] == ["2"]
    with pytest.raises(DicomError, match=r"no image of study 1\.2\.8"):
        read_study(tmp_path, study_instance_uid="1.2.8")


def test_a_second_copy_is_skipped(tmp_path: Path) -> None:
    write(tmp_path / "a.dcm", image())
    write(tmp_path / "b.dcm", image())
    study = read_study(tmp_path)
    assert len(study.images) == 1
    assert codes(study) == ["copy"]


def test_missing_uids_get_the_same_stand_ins_every_time(tmp_path: Path) -> None:
    bare = image(StudyInstanceUID=None, SeriesInstanceUID=None, SOPInstanceUID=None)
    first = read_study(write(tmp_path / "a.dcm", bare))
    again = read_study(write(tmp_path / "elsewhere" / "b.dcm", bare))
    assert codes(first) == ["missing_uid"] * 3
    assert first.images[0].ref == again.images[0].ref
    assert UID(first.study_instance_uid).is_valid
    ref = first.images[0].ref
    assert len({ref.study_instance_uid, ref.series_instance_uid, ref.sop_instance_uid}) == 3


def test_slices_without_a_study_uid_stay_together_by_their_series(tmp_path: Path) -> None:
    for number in (1, 2):
        write(tmp_path / f"{number}.dcm", image(number=number, StudyInstanceUID=None))
    assert len(read_study(tmp_path).images) == 2


def test_a_mask_is_an_image_only_where_nothing_else_is(tmp_path: Path) -> None:
    write(tmp_path / "mask.dcm", image(number=9, SOPClassUID=SegmentationStorage, Modality="SEG"))
    alone = read_study(tmp_path)
    assert "derived_object" in codes(alone)
    assert len(alone.images) == 1
    write(tmp_path / "1.dcm", image(number=1))
    beside = read_study(tmp_path)
    assert [one.modality for one in beside.images] == ["CT"]
    assert "mask.dcm" in beside.warnings[0].message


def test_gate_notices_come_once_a_study(tmp_path: Path) -> None:
    for number in range(4):
        lossy = "01" if number else "00"
        write(tmp_path / f"{number}.dcm", image(number=number, LossyImageCompression=lossy))
    (notice,) = read_study(tmp_path).warnings
    assert notice.code == "lossy_compression"
    assert notice.message.startswith("3 of 4 files")


def test_an_empty_folder_and_a_folder_of_junk(tmp_path: Path) -> None:
    with pytest.raises(DicomError, match="is empty"):
        read_study(tmp_path)
    for number in range(7):
        (tmp_path / f"{number}.txt").write_text("x")
    with pytest.raises(DicomError, match=r"0\.txt, 1\.txt, 2\.txt and 4 more, which is not a DICOM file"):
        read_study(tmp_path)


@pytest.mark.parametrize(
    "limits",
    [Limits(frame_pixels=47), Limits(frames=1), Limits(pixels=95)],
    ids=["frame", "frames", "pixels"],
)
def test_image_limits_are_checked_before_decoding(tmp_path: Path, limits: Limits) -> None:
    path = write(tmp_path / "big.dcm", image(np.stack([gradient(), gradient()])))
    assert len(read_study(path, limits=Limits(frame_pixels=48, frames=2, pixels=96)).images) == 2
    with pytest.raises(DicomError, match=r"big\.dcm has 8 x 6 pixels in 2 frames, more than Limits allows"):
        read_study(path, limits=limits)


def test_a_header_that_claims_a_huge_image_decodes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "huge.dcm", image(Rows=65535, Columns=65535))
    with pytest.raises(DicomError, match="65535 x 65535"):
        read_study(path)


@pytest.mark.parametrize("keyword", ["SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated"])
def test_what_gives_pixels_their_meaning_is_never_guessed(tmp_path: Path, keyword: str) -> None:
    path = write(tmp_path / "1.dcm", image(**{keyword: None}))
    with pytest.raises(DicomError, match=rf"1\.dcm has no {keyword}; pass a DICOM"):
        read_study(path)


def test_broken_members_of_an_archive_are_skipped(tmp_path: Path) -> None:
    good, bad = to_bytes(image(number=1)), to_bytes(image(number=2))
    path = zipped(tmp_path / "s.zip", {"good.dcm": good})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr("bad.dcm", bad)
        archive.writestr("inner.zip", zipped(tmp_path / "inner.zip", {"1.dcm": good}).read_bytes())
    path.write_bytes(path.read_bytes().replace(bad, bad[:-1] + b"\xee"))
    study = read_study(path)
    assert len(study.images) == 1
    assert sorted(codes(study)) == ["not_dicom", "unreadable_file"]


def test_an_encrypted_archive_says_so_in_one_sentence(tmp_path: Path) -> None:
    path = zipped(tmp_path / "s.zip", {"1.dcm": to_bytes(image())})
    data = path.read_bytes()
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(signature) + flags
        data = data[:at] + b"\x01" + data[at + 1 :]
    path.write_bytes(data)
    with pytest.raises(DicomError, match=r"1\.dcm, which cannot be read"):
        read_study(path)


def test_an_archive_bomb(tmp_path: Path) -> None:
    with pytest.raises(LimitError, match="times its size"):
        read_study(zipped(tmp_path / "bomb.zip", {str(number): bytes(9 << 20) for number in range(2)}))


def test_a_deflate_bomb_among_images_is_skipped(tmp_path: Path) -> None:
    write(tmp_path / "1.dcm", image(number=1))
    deflated = image(np.zeros((500, 500), np.uint8), number=2, transfer_syntax=DeflatedExplicitVRLittleEndian)
    write(tmp_path / "2.dcm", deflated)
    study = read_study(tmp_path, limits=Limits(file_bytes=10_000))
    assert len(study.images) == 1
    assert codes(study) == ["over_limit"]


def test_a_file_that_is_gone_when_it_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "1.dcm", image())
    study = read_study(path)
    path.unlink()
    with pytest.raises(PixelError, match=r"1\.dcm can no longer be read"):
        study.images[0]


def test_headers_without_preamble_or_meta_information(tmp_path: Path) -> None:
    data = to_bytes(image())
    path = tmp_path / "bare.dcm"
    path.write_bytes(data[144 + int.from_bytes(data[140:144], "little") :])
    np.testing.assert_array_equal(
        read_study(path).images[0].pixels,
        read_study(write(tmp_path / "whole.dcm", image())).images[0].pixels,
    )


def test_no_notice_and_no_error_repeats_what_names_the_patient(tmp_path: Path) -> None:
    heard: list[str] = []
    odd = {"StudyInstanceUID": None, "RescaleSlope": 0, "BurnedInAnnotation": "YES", "WindowWidth": 0}
    write(tmp_path / "study" / "1.dcm", planted(image(number=1, WindowCenter=1, **odd)))
    write(tmp_path / "study" / "2.dcm", planted(image(number=2, PixelData=None, StudyInstanceUID=None)))
    write(tmp_path / "study" / "3.dcm", planted(image(number=3, Rows=None, PixelData=None)))
    heard.extend(notice.message for notice in read_study(tmp_path / "study").warnings)
    for cut in (150, 300, 700, 900, -1):
        path = tmp_path / "cut.dcm"
        path.write_bytes(to_bytes(planted(image()))[:cut])
        with pytest.raises(DicomError) as caught:
            print(len(read_study(path).images[0].pixels))  # noqa: T201
        heard.append(str(caught.value))
    assert len(heard) >= 9
    assert not [text for text in heard if CANARY in text or "1901" in text]


@settings(max_examples=60, deadline=None)
@given(at=st.integers(132, 1000), value=st.integers(0, 255), length=st.integers(1, 8))
def test_a_corrupted_file_gives_images_or_one_dicom_error(
    tmp_path_factory: Any, at: int, value: int, length: int
) -> None:
    data = bytearray(to_bytes(planted(image())))
    data[at : at + length] = bytes([value]) * length
    path: Path = tmp_path_factory.mktemp("fuzz") / "f.dcm"
    path.write_bytes(data)
    try:
        for one in read_study(path).images:
            assert np.isfinite(one.pixels).all()
    except DicomError as error:
        assert CANARY not in str(error)
        assert len(str(error)) < 400
