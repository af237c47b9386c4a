"""Masked pixels are gone, and all others are as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deidentifying import cleaned, opened, source_of
from dicom_builder import image, to_bytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont
from pydicom.dataset import FileDataset
from pydicom.uid import JPEG2000Lossless, RLELossless

from medvqa.deidentification.burned_in import find_text
from medvqa.deidentification.masking import Region
from medvqa.dicom.sources import DEFAULT_LIMITS
from medvqa.simulation.phantoms import phantom

REGION = Region(top=1, bottom=3, left=2, right=5)


def stored(dataset: Any) -> np.ndarray:
    """Stored values, shape (frames, rows, columns, samples), by pydicom."""
    dataset.pixel_array_options(raw=True)
    frames = int(dataset.get("NumberOfFrames") or 1)
    return dataset.pixel_array.reshape(frames, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel)


@st.composite
def images(draw: st.DrawFn) -> FileDataset:
    dtype = draw(st.sampled_from([np.uint8, np.int16, np.uint16]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    rows, columns = draw(st.integers(4, 9)), draw(st.integers(5, 9))
    kind = draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL"] if dtype is np.uint8 else
                                ["MONOCHROME1", "MONOCHROME2"]))  # fmt: skip
    frames = 1 if kind in ("RGB", "YBR_FULL") else draw(st.integers(1, 3))
    shape = (rows, columns, 3) if kind in ("RGB", "YBR_FULL") else (frames, rows, columns)
    limits = np.iinfo(dtype)
    pixels = rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    source = image(pixels, PhotometricInterpretation=kind)
    if kind in ("RGB", "YBR_FULL") and draw(st.booleans()):
        source.PlanarConfiguration = 1
        source.PixelData = np.moveaxis(pixels, -1, 0).tobytes()
    if len(source.PixelData) % 2:
        source.PixelData += b"\0"
    if draw(st.booleans()) and kind != "YBR_FULL":
        source.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    return source


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(source=images())
def test_outside_of_a_region_every_bit_stays(tmp_path: Path, source: FileDataset) -> None:
    before = stored(opened(to_bytes(source)))
    read = opened(cleaned(tmp_path / "a.dcm", source, regions=(REGION,))[0])
    after = stored(read)
    inside = np.zeros(before.shape, dtype=bool)
    inside[:, REGION.top : REGION.bottom, REGION.left : REGION.right] = True
    assert after.dtype == before.dtype
    assert (after[~inside] == before[~inside]).all()
    for frame, was in zip(after, before, strict=True):
        masked = frame[REGION.top : REGION.bottom, REGION.left : REGION.right].reshape(-1, frame.shape[-1])
        assert (masked == masked[0]).all()
        black = {"MONOCHROME1": was.max(), "MONOCHROME2": was.min(), "RGB": 0, "YBR_FULL": [0, 128, 128]}
        assert (masked[0] == black[source.PhotometricInterpretation]).all()
    assert read.PhotometricInterpretation == source.PhotometricInterpretation


@pytest.mark.parametrize("signed", [False, True])
def test_an_overlay_in_unused_bits_is_cleared(tmp_path: Path, signed: bool) -> None:
    values = np.arange(48).reshape(6, 8) - (20 if signed else 0)
    words = values.astype(np.int16) & 0x0FFF | np.where(
        np.arange(48).reshape(6, 8) % 3 == 0, 0x8000, 0
    ).astype(np.uint16).view(np.int16)
    source = image(words if signed else words.view(np.uint16), BitsStored=12, HighBit=11)
    written, done = cleaned(tmp_path / "a.dcm", source)
    assert done.unused_bits_cleared
    after = np.frombuffer(opened(written).PixelData, "<i2" if signed else "<u2").reshape(6, 8)
    assert (after == values).all()


def test_signs_in_unused_bits_are_no_overlay(tmp_path: Path) -> None:
    values = (np.arange(48).reshape(6, 8) - 20).astype(np.int16)
    written, done = cleaned(tmp_path / "a.dcm", image(values, BitsStored=12, HighBit=11))
    assert not done.unused_bits_cleared
    assert opened(written).PixelData == values.tobytes()


def test_a_comment_in_a_compressed_stream_and_bytes_after_the_pixels_are_left_behind(tmp_path: Path) -> None:
    source = image(np.arange(4096, dtype=np.uint8).reshape(64, 64))
    source.compress(JPEG2000Lossless, generate_instance_uid=False)
    comment = b"QZCOMMENT!"
    marker = b"\xff\x64" + (4 + len(comment)).to_bytes(2, "big") + b"\0\1" + comment
    at = source.PixelData.index(b"\xff\x52")
    # The item's length is stated eight bytes in front of the stream: PS3.5 A.4.
    start = source.PixelData.index(b"\xff\x4f\xff\x51")
    length = int.from_bytes(source.PixelData[start - 4 : start], "little")
    stream = source.PixelData[start:at] + marker + source.PixelData[at : start + length]
    stream += b"\0" * (len(stream) % 2)
    head, tail = source.PixelData[: start - 4], source.PixelData[start + length :]
    source.PixelData = head + len(stream).to_bytes(4, "little") + stream + tail
    source["PixelData"].is_undefined_length = True
    assert comment in to_bytes(source)
    written, _ = cleaned(tmp_path / "a.dcm", source)
    assert comment not in written
    assert (stored(opened(written)) == stored(opened(to_bytes(source)))).all()
    longer = image()
    longer.PixelData += b"QZAFTER!"
    assert b"QZ" not in cleaned(tmp_path / "a.dcm", longer)[0]


def with_text(pixels: np.ndarray, *lines: tuple[str, tuple[int, int]], size: int = 22) -> np.ndarray:
    drawn = PillowImage.fromarray(pixels)
    for text, at in lines:
        ImageDraw.Draw(drawn).text(at, text, fill=255, font=ImageFont.load_default(size))
    return np.asarray(drawn)


def found_in(path: Path, source: FileDataset) -> Any:
    instance = source_of(path, to_bytes(source))
    (found,) = find_text([instance], limits=DEFAULT_LIMITS, on_instance=lambda: None).values()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("organ", ["chest", "brain", "breast"])
def test_names_on_phantoms_are_gone_and_side_markers_stay(tmp_path: Path, organ: Any) -> None:
    plain = (phantom(organ, np.random.default_rng(3), shape=(420, 420)) * 200).astype(np.uint8)
    name = with_text(plain, ("DOE^JANE", (12, 12)), ("1901-02-03", (270, 380)))
    source = image(with_text(name, ("R", (380, 60)), size=34), Modality="CR", RescaleSlope=None)
    found = found_in(tmp_path / "a.dcm", source)
    assert found.problem is None
    assert found.every_frame_read
    written, done = cleaned(tmp_path / "a.dcm", source, regions=found.regions)
    after, before = (stored(opened(one))[0, ..., 0] for one in (written, to_bytes(source)))
    letters = name != plain
    assert (after[letters] == before.min()).all()
    assert (after[55:110, 370:410] == before[55:110, 370:410]).all()
    assert (after != before).mean() < 0.1
    assert found_in(tmp_path / "b.dcm", opened(written)).regions == ()
    assert done.regions == found.regions


@pytest.mark.slow
def test_a_long_stack_is_read_by_projections_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medvqa.deidentification.burned_in.LONGEST_READ", 4)
    monkeypatch.setattr("medvqa.deidentification.burned_in.SAMPLES", 2)
    frames = (np.random.default_rng(0).random((6, 96, 200)) * 60).astype(np.uint8)
    frames[3] = with_text(frames[3], ("JANE DOE", (20, 30)))
    found = found_in(tmp_path / "a.dcm", image(frames))
    assert not found.every_frame_read
    assert found.frames_read == 2
    (region,) = found.regions
    assert region.top <= 36 and region.bottom >= 50 and region.left <= 22 and region.right >= 115
    said = image(frames[:1].repeat(5, 0), BurnedInAnnotation="YES")
    found = found_in(tmp_path / "b.dcm", said)
    assert found.every_frame_read
    assert found.problem is not None and "none was found" in found.problem
