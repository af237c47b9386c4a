"""The gate refuses what an answer could not mean anything about, and warns of the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dicom_builder import image, lookup_table
from pydicom.dataset import Dataset

from medvqa import gate
from medvqa.errors import GateError
from medvqa.types import Image, ImageRef

REF = ImageRef(
    study_instance_uid="1",
    series_instance_uid="1",
    sop_instance_uid="1",
    frame_number=1,
    pixel_sha256="",
    file_sha256="",
)


def shown(pixels: Any, *, modality: str = "CT") -> Image:
    return Image(ref=REF, pixels=np.asarray(pixels, dtype=np.float32), modality=modality)


def noise(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(7).random((rows, columns))


def check(image: Image, *, modalities: frozenset[str] = frozenset()) -> list[str]:
    return [notice.code for notice in gate.check_image(image, modalities=modalities)]


def test_an_ordinary_image_passes_in_silence() -> None:
    assert check(shown(noise(64, 64)), modalities=frozenset({"CT"})) == []


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_a_constant_image_is_refused(level: float) -> None:
    with pytest.raises(GateError, match="every pixel of the image"):
        check(shown(np.full((64, 64), level)))
    with pytest.raises(GateError):
        check(shown(np.full((64, 64, 3), [level, 0.5, 0.1])))


def test_one_pixel_that_differs_is_a_warning_not_a_refusal() -> None:
    pixels = np.zeros((64, 64))
    pixels[3, 4] = 1
    assert check(shown(pixels)) == ["nearly_blank"]


def test_colors_of_one_brightness_are_no_blank_image() -> None:
    pixels = np.zeros((64, 64, 3))
    pixels[:32, :, 0] = pixels[32:, :, 1] = 1
    assert check(shown(pixels)) == ["saturated"]


@pytest.mark.parametrize(("share", "codes"), [(0.85, []), (0.95, ["saturated"])])
def test_saturation(share: float, codes: list[str]) -> None:
    pixels = 0.25 + noise(100, 100) / 2
    clipped = int(share * 100)
    pixels[: clipped // 2] = 0
    pixels[100 - (clipped - clipped // 2) :] = 1
    assert check(shown(pixels)) == codes


@pytest.mark.parametrize("shape", [(40, 200), (200, 40)])
def test_five_to_one_passes_and_more_is_warned_of(shape: tuple[int, int]) -> None:
    assert check(shown(noise(*shape))) == []
    assert check(shown(noise(*np.add(shape, np.array(shape) > 100)))) == ["long_image"]


def test_twenty_to_one_is_warned_of_and_more_is_refused() -> None:
    assert check(shown(noise(40, 800))) == ["long_image"]
    with pytest.raises(GateError, match=r"801 columns"):
        check(shown(noise(40, 801)))


def test_tiny_images_are_warned_of() -> None:
    assert check(shown(noise(31, 40))) == ["tiny_image"]
    assert check(shown(noise(32, 40))) == []


def test_a_modality_that_the_model_was_not_made_for() -> None:
    (notice,) = gate.check_image(shown(noise(64, 64), modality="US"), modalities=frozenset({"CT", "MR"}))
    assert notice.code == "unsupported_modality"
    assert notice.message == "the model was made for CT, MR, not for modality US; use a model that was"
    assert check(shown(noise(64, 64), modality="US")) == []


@pytest.mark.parametrize(
    ("elements", "codes"),
    [
        ({}, ()),
        ({"BurnedInAnnotation": "YES"}, ("burned_in_annotation",)),
        ({"BurnedInAnnotation": "NO"}, ()),
        ({"LossyImageCompression": "01"}, ("lossy_compression",)),
        ({"RescaleSlope": None}, ("missing_rescale",)),
        ({"RescaleSlope": None, "Modality": "MR"}, ()),
        (
            {"RescaleSlope": None, "ModalityLUTSequence": [lookup_table(first=0, bits=8, entries=[1])]},
            (),
        ),
        ({"RescaleSlope": 0}, ("bad_rescale",)),
        ({"WindowCenter": 40, "WindowWidth": 0}, ("bad_window",)),
        ({"WindowCenter": 40, "WindowWidth": 400}, ()),
        ({"OverlayRows": 4}, ("overlay_ignored",)),
        ({"PixelAspectRatio": [2, 1]}, ("non_square_pixels",)),
        ({"PixelSpacing": [0.5, 0.7]}, ("non_square_pixels",)),
        ({"Modality": None}, ("missing_modality",)),
        ({"PixelPresentation": "COLOR"}, ("color_map_ignored",)),
    ],
)
def test_header_findings(elements: dict[str, Any], codes: tuple[str, ...]) -> None:
    if "OverlayRows" in elements:
        dataset = image()
        dataset.add_new(0x60020010, "US", 4)
    else:
        dataset = image(**elements)
    assert gate.inspect_header(dataset) == codes


def test_a_header_of_nonsense_is_no_reason_to_stop() -> None:
    dataset = Dataset()
    dataset.add_new("PixelSpacing", "LO", ["wide", "high"])
    dataset.add_new("WindowWidth", "LO", "")
    assert gate.inspect_header(dataset) == ("missing_modality",)


def test_findings_are_told_once_a_study_with_their_number() -> None:
    codes = ["lossy_compression", "overlay_ignored", "lossy_compression"]
    notices = gate.summarise_headers(codes, files=9)
    assert [(notice.code, notice.tag) for notice in notices] == [
        ("lossy_compression", "(0028,2110)"),
        ("overlay_ignored", "(6000,3000)"),
    ]
    assert notices[0].message.startswith("2 of 9 files have been compressed with loss")
