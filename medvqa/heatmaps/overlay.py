"""A heatmap drawn over its image, or the reason why it is not."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from medvqa.imaging import to_uint8

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from medvqa.types import Image, Pixels

# Dark red through orange to pale yellow: grows steadily in lightness, so that it survives grey print and
# colour-blind eyes; no blue or green, which a reader could take for Doppler or a segmentation.
_STOPS = np.array([(60, 0, 10), (190, 20, 20), (245, 120, 20), (255, 240, 150)], dtype=np.float32)
_NARROWEST, _LETTER, _LINE = 320, 9, 20
"""Of a sentence below an image, in pixels."""


def overlay(image: Image, values: Pixels, *, opacity: float = 0.6) -> NDArray[np.uint8]:
    """Blend a heatmap over its image.

    Args:
        image: The image that `values` belongs to.
        values: Heatmap in [0, 1], shape (rows, columns) of the image.
        opacity: How much of the image the map's highest value hides, in [0, 1]; lower values hide less.

    Returns:
        RGB, shape (rows, columns, 3).
    """
    colour = _colour(values)
    weight = (opacity * values)[..., None]
    return np.rint(to_uint8(image) * (1 - weight) + colour * weight).astype(np.uint8)


def colour_table() -> NDArray[np.uint8]:
    """The colours of values 0 to 1 in 256 steps, RGB, shape (256, 3)."""
    return np.rint(_colour(np.linspace(0, 1, 256, dtype=np.float32))).astype(np.uint8)


def save_overlay(image: Image, values: Pixels, path: Path) -> None:
    """Write the overlay as a PNG file with the image's own rows and columns."""
    PillowImage.fromarray(overlay(image, values)).save(path, format="PNG")


def save_reason(image: Image, reason: str, path: Path) -> None:
    """Write the bare image as a PNG file, with a sentence below it in place of a map."""
    rows, columns = image.shape
    width = max(columns, _NARROWEST)
    lines = textwrap.wrap(reason, width=width // _LETTER)
    picture = PillowImage.new("RGB", (width, rows + _LINE * (len(lines) + 1)))
    picture.paste(PillowImage.fromarray(to_uint8(image)), ((width - columns) // 2, 0))
    text, font = "\n".join(lines), ImageFont.load_default(_LINE * 0.7)
    ImageDraw.Draw(picture).multiline_text((_LETTER, rows + _LINE // 2), text, fill="white", font=font)
    picture.save(path, format="PNG")


def _colour(values: Pixels) -> NDArray[np.float64]:
    positions = np.linspace(0, 1, len(_STOPS))
    return np.stack([np.interp(values, positions, _STOPS[:, channel]) for channel in range(3)], -1)
