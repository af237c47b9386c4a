import contextlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from medvqa import imaging, raster
from medvqa.digests import digest_pixels
from medvqa.errors import LimitError, MedvqaError, PixelError

GREY = np.arange(3 * 5, dtype=np.uint8).reshape(3, 5) * 17
COLOUR = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3) * 5


def encoded(picture: PIL.Image.Image | np.ndarray, form: str = "PNG", **options: Any) -> bytes:
    if isinstance(picture, np.ndarray):
        picture = PIL.Image.fromarray(picture)
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def levels(data: bytes) -> np.ndarray:
    return imaging.to_uint8(imaging.present(raster.read_raster(data, name="a.png")))


def bomb(columns: int, rows: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


class TestIsRaster:
    @pytest.mark.parametrize("form", ["PNG", "JPEG"])
    def test_knows_the_two_formats(self, form: str, tmp_path: Path) -> None:
        data = encoded(GREY, form)
        (tmp_path / "without_suffix").write_bytes(data)
        assert raster.is_raster(data[:8])
        assert raster.is_raster(tmp_path / "without_suffix")

    @pytest.mark.parametrize("head", [b"", b"\x89PN", b"GIF89a..", bytes(128) + b"DICM"])
    def test_refuses_the_rest(self, head: bytes) -> None:
        assert not raster.is_raster(head)


class TestPixels:
    def test_grey_of_8_bits_is_shown_exactly(self) -> None:
        np.testing.assert_array_equal(levels(encoded(GREY))[:, :, 0], GREY)

    def test_colour_is_shown_exactly(self) -> None:
        np.testing.assert_array_equal(levels(encoded(COLOUR)), COLOUR)

    def test_grey_of_16_bits_keeps_its_values(self) -> None:
        stored = GREY.astype(np.uint16) * 257
        frame = raster.read_raster(encoded(stored), name="a.png")
        assert frame.photometric_interpretation == "MONOCHROME2"
        np.testing.assert_array_equal(frame.values, stored)

    def test_jpeg_is_close(self) -> None:
        smooth = np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (48, 1))
        shown = levels(encoded(smooth, "JPEG", quality=95))
        assert shown.shape == (48, 64, 3)
        assert np.abs(shown[:, :, 0].astype(int) - smooth).max() < 8

    @pytest.mark.parametrize("mode", ["1", "P", "CMYK"])
    def test_other_modes_open(self, mode: str) -> None:
        picture = PIL.Image.fromarray(COLOUR).convert(mode)
        shown = levels(encoded(picture, "JPEG" if mode == "CMYK" else "PNG"))
        assert shown.shape == (3, 5, 3)

    def test_palette_shows_its_colours(self) -> None:
        picture = PIL.Image.new("P", (2, 1))
        picture.putpalette([255, 0, 0, 0, 0, 255])
        picture.putpixel((1, 0), 1)
        assert levels(encoded(picture)).tolist() == [[[255, 0, 0], [0, 0, 255]]]

    def test_transparent_is_black(self) -> None:
        rgba = np.dstack([COLOUR, np.full((3, 5), 255, np.uint8)])
        rgba[0, 0] = (200, 200, 200, 0)
        shown = levels(encoded(rgba))
        assert shown[0, 0].tolist() == [0, 0, 0]
        np.testing.assert_array_equal(shown[1:], COLOUR[1:])

    @pytest.mark.parametrize("stored", [GREY, COLOUR, GREY.astype(np.uint16) * 257])
    @pytest.mark.parametrize(("orientation", "turn"), [(1, 0), (3, 2), (6, -1), (8, 1)])
    def test_exif_orientation_is_applied(self, stored: np.ndarray, orientation: int, turn: int) -> None:
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        frame = raster.read_raster(encoded(stored, exif=exif), name="a.png")
        np.testing.assert_array_equal(frame.values, np.rot90(stored, turn))
        assert frame.applied[0].parameters["exif_orientation"] == orientation


class TestIdentity:
    def test_uids_are_valid_distinct_and_repeatable(self) -> None:
        first = raster.read_raster(encoded(GREY), name="a.png").ref
        again = raster.read_raster(encoded(GREY), name="b.png").ref
        other = raster.read_raster(encoded(COLOUR), name="a.png").ref
        uids = [first.study_instance_uid, first.series_instance_uid, first.sop_instance_uid]
        assert first == again
        assert other.sop_instance_uid != first.sop_instance_uid
        assert len(set(uids)) == 3
        assert all(UID(uid).is_valid and uid.startswith("2.25.") for uid in uids)

    def test_pixel_digest_ignores_the_container(self) -> None:
        small, large = encoded(GREY), encoded(GREY, compress_level=0)
        first, second = (raster.read_raster(data, name="a.png").ref for data in (small, large))
        assert first.pixel_sha256 == second.pixel_sha256
        assert first.file_sha256 != second.file_sha256

    @pytest.mark.parametrize("stored", [GREY, COLOUR, GREY.astype(np.uint16) * 257])
    def test_pixel_digest_is_that_of_dicom(self, stored: np.ndarray) -> None:
        frame = raster.read_raster(encoded(stored), name="a.png")
        assert frame.ref.pixel_sha256 == digest_pixels(stored)

    def test_carries_no_acquisition_data(self) -> None:
        frame = raster.read_raster(encoded(GREY), name="a.png")
        assert frame.modality == "unknown"
        assert frame.pixel_spacing_mm is None
        assert not frame.values.flags.writeable


class TestBroken:
    @pytest.mark.parametrize("data", [b"", b"no picture", encoded(GREY, "GIF"), encoded(GREY)[:60]])
    def test_says_which_file(self, data: bytes) -> None:
        with pytest.raises(PixelError, match=r"^a\.png is no readable PNG or JPEG"):
            raster.read_raster(data, name="a.png")

    @pytest.mark.parametrize("shape", [(9_000, 9_000), (12_000, 9_000), (60_000, 60_000)])
    @pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
    def test_bomb_is_refused_before_it_unfolds(self, shape: tuple[int, int]) -> None:
        with pytest.raises(LimitError, match=r"a\.png holds more than 64,000,000 pixels"):
            raster.read_raster(bomb(*shape), name="a.png")

    @pytest.mark.parametrize("form", ["PNG", "JPEG"])
    @pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
    @given(position=st.integers(0, 400), byte=st.integers(0, 255), length=st.integers(1, 2000))
    def test_damage_raises_nothing_else(self, form: str, position: int, byte: int, length: int) -> None:
        data = bytearray(encoded(COLOUR, form, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0"))
        data[position % len(data)] = byte
        with contextlib.suppress(MedvqaError):
            raster.read_raster(bytes(data[:length]), name="a.png")
