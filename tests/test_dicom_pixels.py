"""Stored pixels become the values that the header gives them, and nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_builder import AXIAL, enhanced, gradient, image, item, lookup_table, write
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset
from pydicom.pixels import apply_modality_lut, pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from medvqa.dicom.instances import Instance, read_instance
from medvqa.dicom.pixels import decode_frame, open_instance
from medvqa.dicom.sources import Limits, find_sources
from medvqa.digests import digest_pixels
from medvqa.errors import PixelError
from medvqa.types import Frame, LookupTable, Window

LIMITS = Limits()


def decode(path: Path, frame_number: int = 1) -> Frame:
    (source,), _ = find_sources(path, limits=LIMITS)
    with source.open(limits=LIMITS) as stream:
        instance = read_instance(source, stream, limits=LIMITS)
    assert isinstance(instance, Instance), instance
    return decode_frame(open_instance(instance, limits=LIMITS), frame_number)


def decoded(tmp_path: Path, dataset: FileDataset, frame_number: int = 1) -> Frame:
    return decode(write(tmp_path / "x.dcm", dataset), frame_number)


def test_signed_values_are_rescaled_to_hounsfield_units(tmp_path: Path) -> None:
    stored = np.array([[-2000, -1], [0, 3000]], dtype=np.int16)
    frame = decoded(tmp_path, image(stored, RescaleSlope="2", RescaleIntercept="-1024.5"))
    assert frame.values.tolist() == [[-5024.5, -1026.5], [-1024.5, 4975.5]]
    assert frame.values.dtype == np.float32
    assert not frame.values.flags.writeable
    assert [(one.name, dict(one.parameters)) for one in frame.applied] == [
        ("Rescale", {"slope": 2.0, "intercept": -1024.5})
    ]


@pytest.mark.parametrize(
    "transfer_syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32])
def test_byte_order_and_depth_do_not_change_values(tmp_path: Path, transfer_syntax: Any, dtype: Any) -> None:
    stored = np.array([[0, 1, 2], [100, 120, np.iinfo(dtype).min]], dtype=dtype)
    frame = decoded(tmp_path, image(stored, transfer_syntax=transfer_syntax))
    assert frame.values.tolist() == stored.astype(np.float32).tolist()
    assert frame.ref.pixel_sha256 == digest_pixels(stored)


@pytest.mark.parametrize("transfer_syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_lossless_compression_does_not_change_values_or_digest(tmp_path: Path, transfer_syntax: Any) -> None:
    stored = gradient(64, 80, dtype=np.uint16) * 9
    dataset = image(stored)
    dataset.compress(transfer_syntax)
    frame = decoded(tmp_path, dataset)
    assert frame.values.tolist() == stored.tolist()
    assert frame.ref.pixel_sha256 == digest_pixels(stored)


def test_bits_above_bits_stored_are_no_part_of_the_value(tmp_path: Path) -> None:
    stored = np.array([[0x0FFF, 0xF001]], dtype=np.uint16)
    frame = decoded(tmp_path, image(stored, BitsStored=12, HighBit=11))
    assert frame.values.tolist() == [[4095, 1]]
    signed = image(stored, BitsStored=12, HighBit=11, PixelRepresentation=1)
    assert decoded(tmp_path, signed).values.tolist() == [[-1, 1]]


def test_float_pixel_data(tmp_path: Path) -> None:
    values = np.array([[0.5, -3.25]], dtype=np.float32)
    dataset = image(np.zeros((1, 2), dtype=np.uint32), PixelData=None, BitsStored=None, HighBit=None)
    dataset.FloatPixelData = values.tobytes()
    assert decoded(tmp_path, dataset).values.tolist() == [[0.5, -3.25]]


def test_monochrome1_is_left_as_it_is(tmp_path: Path) -> None:
    frame = decoded(tmp_path, image(PhotometricInterpretation="MONOCHROME1"))
    assert frame.photometric_interpretation == "MONOCHROME1"
    assert frame.values.tolist() == gradient().tolist()


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_modality_lut_maps_and_clips(tmp_path: Path, bits: int) -> None:
    stored = np.array([[0, 10, 11, 12, 99]], dtype=np.uint16)
    table = lookup_table(first=10, bits=bits, entries=[7, 8, 200])
    frame = decoded(tmp_path, image(stored, ModalityLUTSequence=[table]))
    assert frame.values.tolist() == [[7, 7, 8, 200, 200]]
    assert frame.applied[0].name == "ModalityLUT"


def test_a_slope_of_zero_does_not_erase_the_image(tmp_path: Path) -> None:
    assert decoded(tmp_path, image(RescaleSlope=0, RescaleIntercept=5)).values.max() > 0


def test_windows_come_in_the_files_order_without_the_impossible_ones(tmp_path: Path) -> None:
    dataset = image(
        WindowCenter=["40", "-600", "1"],
        WindowWidth=["400", "1500", "0"],
        WindowCenterWidthExplanation=["SOFT", "LUNG", "NONE"],
    )
    assert decoded(tmp_path, dataset).windows == (
        Window(center=40, width=400, explanation="SOFT"),
        Window(center=-600, width=1500, explanation="LUNG"),
    )


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
def test_window_function(tmp_path: Path, function: str) -> None:
    frame = decoded(tmp_path, image(WindowCenter="0.25", WindowWidth="0.5", VOILUTFunction=function))
    assert [(one.width, one.function) for one in frame.windows] == [(0.5, function)]


def test_voi_lut_of_a_signed_image(tmp_path: Path) -> None:
    table = lookup_table(first=-2, bits=12, entries=[0, 1000, 4095], signed=True)
    frame = decoded(tmp_path, image(VOILUTSequence=[table]))
    assert frame.voi_lut == LookupTable(first_mapped=-2, bits=12, entries=(0, 1000, 4095))


def test_padding_is_given_in_modality_values(tmp_path: Path) -> None:
    dataset = image(
        PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1990, RescaleIntercept=-24, RescaleSlope=-1
    )
    assert decoded(tmp_path, dataset).padding == (1966, 1976)
    assert decoded(tmp_path, image(PixelPaddingValue=-2000)).padding == (-2000, -2000)
    assert decoded(tmp_path, image()).padding is None


def test_palette_colors_become_8_bit_rgb(tmp_path: Path) -> None:
    dataset = image(
        np.array([[0, 1, 2]], dtype=np.uint8), PhotometricInterpretation="PALETTE COLOR", Modality="US"
    )
    for name, ramp in {"Red": [0, 0xFFFF, 0], "Green": [0, 0, 0xFFFF], "Blue": [0x8080, 0, 0]}.items():
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [3, 0, 16])
        setattr(dataset, f"{name}PaletteColorLookupTableData", np.array(ramp, dtype="<u2").tobytes())
    frame = decoded(tmp_path, dataset)
    assert frame.values.tolist() == [[[0, 0, 128], [255, 0, 0], [0, 255, 0]]]
    assert frame.photometric_interpretation == "RGB"


def test_ybr_becomes_rgb_and_the_digest_is_of_what_was_stored(tmp_path: Path) -> None:
    stored = np.array([[[76, 85, 255], [255, 128, 128]]], dtype=np.uint8)
    frame = decoded(tmp_path, image(stored, PhotometricInterpretation="YBR_FULL"))
    assert frame.values.tolist() == [[[254, 0, 0], [255, 255, 255]]]
    assert frame.ref.pixel_sha256 == digest_pixels(stored)


def test_16_bit_rgb_is_scaled_to_8(tmp_path: Path) -> None:
    stored = np.array([[[0, 0x8080, 0xFFFF]]], dtype=np.uint16)
    assert decoded(tmp_path, image(stored)).values.tolist() == [[[0, 128, 255]]]


def test_planar_configuration_1(tmp_path: Path) -> None:
    colors = np.array([[[1, 2, 3], [4, 5, 6]]], dtype=np.uint8)
    planes = np.moveaxis(colors, -1, 0).tobytes()
    assert decoded(tmp_path, image(colors, PlanarConfiguration=1, PixelData=planes)).values.tolist() == (
        colors.tolist()
    )


def test_enhanced_multi_frame_takes_each_frames_own_macros(tmp_path: Path) -> None:
    stored = np.stack([gradient(2, 2), gradient(2, 2) + 10])
    per_frame = [
        {
            "PlanePositionSequence": item(ImagePositionPatient=[0, 0, z]),
            "PixelValueTransformationSequence": item(RescaleSlope=slope, RescaleIntercept=-1),
            "FrameVOILUTSequence": item(WindowCenter=40 + z, WindowWidth=400),
        }
        for z, slope in ((5, 1), (-5, 3))
    ]
    dataset = enhanced(
        stored,
        per_frame=per_frame,
        PixelMeasuresSequence=item(PixelSpacing=[0.7, 0.6]),
        PlaneOrientationSequence=item(ImageOrientationPatient=AXIAL),
    )
    path = write(tmp_path / "enhanced.dcm", dataset)
    first, second = decode(path, 1), decode(path, 2)
    assert first.values.tolist() == [[-1, 0], [1, 2]]
    assert second.values.tolist() == [[29, 32], [35, 38]]
    assert (first.position, second.position) == ((0, 0, 5), (0, 0, -5))
    assert (first.windows[0].center, second.windows[0].center) == (45, 35)
    assert second.pixel_spacing_mm == (0.7, 0.6)
    assert second.orientation == tuple(AXIAL)


def test_a_classic_multi_frame_states_the_position_of_no_single_frame(tmp_path: Path) -> None:
    frame = decoded(tmp_path, image(np.stack([gradient(), gradient()])), 2)
    assert frame.position is None
    assert frame.orientation == tuple(AXIAL)


def test_implicit_data_under_an_explicit_transfer_syntax() -> None:
    path = Path(get_testdata_file("SC_rgb_jpeg.dcm", download=False) or "")
    with pytest.warns(UserWarning, match="found implicit VR"):
        frame = decode(path)
    assert frame.values.tolist() == dcmread(path).pixel_array.tolist()


@pytest.mark.parametrize("cut", [1, 40])
def test_a_cut_stream_is_one_clear_error(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path / "cut.dcm", image())
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(PixelError, match=r"\(7FE0,0010\) of cut\.dcm cannot be decoded \(frame 1, Explicit"):
        decode(path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("name", "size", "at"),
    [
        ("MR_small_jp2klossless.dcm", "jpeg 2000", b"\xff\x4f\xff\x51"),
        ("SC_rgb_jpeg_gdcm.dcm", "jpeg", b"\xff\xc3"),
        ("MR_small_jpeg_ls_lossless.dcm", "jpeg", b"\xff\xf7"),
        ("SC_rgb_jpeg_dcmtk.dcm", "jpeg", b"\xff\xc0"),
    ],
)
def test_a_stream_that_claims_gigapixels_is_not_decoded(
    tmp_path: Path, name: str, size: str, at: bytes
) -> None:
    data = bytearray(Path(get_testdata_file(name, download=False) or "").read_bytes())
    start = data.index(at)
    if size == "jpeg":
        data[start + 5 : start + 9] = b"\xff\xfe\xff\xfe"
    else:
        data[start + 8 : start + 16] = data[start + 24 : start + 32] = (40_000).to_bytes(4, "big") * 2
    path = tmp_path / "forged.dcm"
    path.write_bytes(data)
    with pytest.raises(PixelError, match=r"forged\.dcm cannot be decoded") as caught:
        decode(path)
    assert "the stream claims" in str(caught.value.__cause__)


REFERENCE = [
    "CT_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "693_J2KI.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "examples_overlay.dcm",
    "JPEGLSNearLossless_16.dcm",
]


@pytest.mark.parametrize("name", REFERENCE)
def test_values_equal_those_of_pydicoms_reference_functions(name: str) -> None:
    path = Path(get_testdata_file(name, download=False) or "")
    expected = apply_modality_lut(pixel_array(path), dcmread(path))
    frame = decode(path)
    np.testing.assert_array_equal(frame.values, expected.astype(np.float32))
    assert frame.ref.file_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert frame.ref.pixel_sha256 == digest_pixels(pixel_array(path, raw=True))


@pytest.mark.parametrize(
    "name", ["examples_rgb_color.dcm", "examples_jpeg2k.dcm", "SC_ybr_full_422_uncompressed.dcm"]
)
def test_colors_equal_those_of_pydicom(name: str) -> None:
    path = Path(get_testdata_file(name, download=False) or "")
    np.testing.assert_array_equal(decode(path).values, pixel_array(path))


@given(
    stored=arrays(
        st.sampled_from([np.uint8, np.uint16, np.int16, np.dtype(">i2"), np.float32]),
        st.tuples(st.integers(1, 5), st.integers(1, 5)),
        elements={"allow_nan": False},
    )
)
def test_the_digest_follows_its_recipe_and_ignores_byte_order(stored: Any) -> None:
    little = stored.astype(stored.dtype.newbyteorder("<"))
    recipe = hashlib.sha256(f"{little.dtype.str} {stored.shape}".encode() + little.tobytes()).hexdigest()
    assert digest_pixels(stored) == recipe
    assert digest_pixels(np.asfortranarray(stored)) == recipe
    changed = stored.copy()
    changed.flat[0] = 1 if changed.flat[0] == 0 else 0
    assert digest_pixels(changed) != recipe
