"""Boxes, masks and lines of text drawn over their image."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from medvqa.imaging import to_uint8
from medvqa.tasks.results import Boxes, Masks, TextRegions

if TYPE_CHECKING:
    from medvqa.tasks.results import Box, Content, TextRegion
    from medvqa.types import Image

_LINE, _LETTERS = (255, 176, 0), 12
"""Amber: seen on black, on grey and on white, and by colour-blind eyes; no colour of Doppler."""
_OPACITY = 0.45


def draw(image: Image, content: Content) -> bytes | None:
    """The image with its result over it, as a PNG file; None where nothing has a place."""
    pixels = to_uint8(image)
    if isinstance(content, Masks):
        for mask in content.masks:
            inside = mask.bits()[..., None]
            tinted = pixels * (1 - _OPACITY) + np.array(_LINE) * _OPACITY
            pixels = np.where(inside, np.rint(tinted).astype(np.uint8), pixels)
    elif not isinstance(content, Boxes | TextRegions):
        return None
    picture = PillowImage.fromarray(pixels)
    if isinstance(content, Boxes):
        for box in content.boxes:
            _outline(picture, box, box.label)
    elif isinstance(content, TextRegions):
        for region in content.regions:
            _outline(picture, region, "" if region.side is None else f"{region.side} side")
    written = io.BytesIO()
    picture.save(written, format="PNG")
    return written.getvalue()


def _outline(picture: PillowImage.Image, place: Box | TextRegion, label: str) -> None:
    """Around the pixels that a box covers, its name above it or, at the upper edge, inside."""
    drawing, font = ImageDraw.Draw(picture), ImageFont.load_default(_LETTERS)
    left, top = int(place.left), int(place.top)
    right, bottom = (int(np.ceil(edge)) - 1 for edge in (place.right, place.bottom))
    drawing.rectangle((left, top, max(left, right), max(top, bottom)), outline=_LINE)
    above = top - _LETTERS - 3
    drawing.text((left + 1, above if above >= 0 else top + 1), label, fill=_LINE, font=font)
