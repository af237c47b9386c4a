"""The stand-ins for other patients' images are always the same, and nobody's."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from tiny_models import noise, shown

from medvqa.checks.references import empty_picture, stand_ins
from medvqa.imaging import to_uint8

SHA256 = "5a324708382bc6f1d3600ab5d3a0b0891f538fa7694a86333a3daebe4e6b5679"


def test_the_stand_ins_do_not_change() -> None:
    """Rows of the trail rest on these pixels."""
    pixels = b"".join(to_uint8(image).tobytes() for image in stand_ins())
    assert hashlib.sha256(pixels).hexdigest() == SHA256


def test_the_stand_ins_differ_and_are_made_once() -> None:
    images = stand_ins()
    assert len({image.pixels.tobytes() for image in images}) == len({image.modality for image in images}) == 3
    assert all(one is other for one, other in zip(images, stand_ins(), strict=True))
    assert all(np.ptp(image.pixels) > 0.5 and not image.pixels.flags.writeable for image in images)


def test_the_stand_ins_name_nobody() -> None:
    assert {image.ref.sop_instance_uid for image in stand_ins()} == {""}


@pytest.mark.parametrize(("level", "grey"), [(0.1, 0.0), (0.13, 0.25), (0.4, 0.5), (1.0, 1.0)])
def test_an_empty_picture_has_about_the_mean_of_the_image(level: float, grey: float) -> None:
    empty = empty_picture(shown(np.full((4, 6), level)))
    assert empty.shape == (4, 6)
    assert np.unique(empty.pixels) == [grey]


def test_an_empty_picture_keeps_colour_channels_apart() -> None:
    coloured = np.zeros((4, 6, 3))
    coloured[..., 1] = 0.5
    assert empty_picture(shown(coloured)).pixels[2, 3].tolist() == [0, 0.5, 0]


def test_images_of_about_one_mean_share_their_empty_picture() -> None:
    assert empty_picture(noise(seed=1)) is empty_picture(noise(seed=2))
