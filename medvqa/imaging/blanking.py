"""An image with nothing in it, to ask what the picture was worth."""

from dataclasses import replace

import numpy as np

from medvqa.types import Applied, Image


def blank(image: Image) -> Image:
    """Return `image` with every pixel at the image's mean intensity, colour channels apart."""
    level = image.pixels.mean(axis=(0, 1), dtype=np.float64)
    pixels = np.broadcast_to(level.astype(np.float32), image.pixels.shape)
    return replace(image, pixels=pixels, applied=(*image.applied, Applied(name="Blank")))
