"""The pictures of a report: the image asked about, and the same under its heatmap."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal, TypeAlias

from PIL import Image as PillowImage

from medvqa.heatmaps.overlay import overlay
from medvqa.imaging import to_uint8

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medvqa.reports.report import Statement
    from medvqa.types import Image

LONGEST = 512
"""Pixels of the longer edge; an image that is smaller stays as it is."""


Drawn: TypeAlias = dict[tuple[object, ...], bytes]
"""PNG files by the pixels that they show: many questions are about one image, which is drawn once."""


def draw_pictures(statement: Statement, drawn: Drawn) -> list[tuple[Literal["image", "overlay"], str, bytes]]:
    """Kinds, captions and PNG files, none where the study no longer has the image.

    Args:
        statement: Of a report.
        drawn: What was drawn for the report already; it is added to.
    """
    image = statement.image
    if image is None:
        return []
    shown = "" if statement.as_asked else ", shown otherwise than it was asked about"
    caption = f"Image {statement.image_number}{shown}"
    pictures: list[tuple[Literal["image", "overlay"], str, bytes]] = [
        ("image", caption, _draw(image, to_uint8(image), drawn))
    ]
    heatmap = statement.heatmap
    if heatmap is not None:
        caption = f"{heatmap.method.replace('_', ' ')}: explains {heatmap.explained}"
        graded = "" if heatmap.grade is None else f"; graded {heatmap.grade.level}"
        pictures.append(("overlay", caption + graded, _draw(image, overlay(image, heatmap.values), drawn)))
    return pictures


def _draw(image: Image, pixels: NDArray[np.uint8], drawn: Drawn) -> bytes:
    """PNG with square pixels, whatever the spacing."""
    key = (pixels.shape, image.pixel_spacing_mm, pixels.tobytes())
    if key not in drawn:
        drawn[key] = _encode(image, pixels)
    return drawn[key]


def _encode(image: Image, pixels: NDArray[np.uint8]) -> bytes:
    picture = PillowImage.fromarray(pixels)
    down, across = image.pixel_spacing_mm or (1.0, 1.0)
    rows, columns = image.shape
    height, width = rows * down / min(down, across), columns * across / min(down, across)
    scale = min(1.0, LONGEST / max(height, width))
    resized = picture.resize((max(1, round(width * scale)), max(1, round(height * scale))))
    out = io.BytesIO()
    # Beyond 3, radiographs get no smaller, and take twice the time.
    resized.save(out, format="PNG", compress_level=3)
    return out.getvalue()
