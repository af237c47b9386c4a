"""The digest that pins pixels down, the same whatever file they came from."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def digest_pixels(stored: NDArray[Any]) -> str:
    """SHA-256 of one decoded stored frame, in hex: what `ImageRef.pixel_sha256` holds.

    The digest covers the NumPy dtype string in little-endian form (`|u1`, `<u2`, `<i2`, `<f4`, ...), one
    space and the shape as Python prints it, `(512, 512)` or, samples last, `(240, 320, 3)`, all in ASCII;
    then the pixel bytes, little endian, row by row. The frame is the one that
    `pydicom.pixels.pixel_array(path, index=frame_number - 1, raw=True)` returns: before colour conversion,
    palette, Modality LUT and rescale. What a lossy stream decodes to may depend on the decoder.

    Args:
        stored: Shape (rows, columns) or (rows, columns, samples).
    """
    little = stored.astype(stored.dtype.newbyteorder("<"), copy=False)
    digest = hashlib.sha256(f"{little.dtype.str} {little.shape}".encode())
    digest.update(np.ascontiguousarray(little).tobytes())
    return digest.hexdigest()
