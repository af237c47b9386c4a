"""The stand-ins for other patients' images are always the same, and nobody's."""

from __future__ import annotations

import hashlib

import numpy as np

from medvqa.checks.references import stand_ins
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
