"""The digests that pin down pixels, prompts and models, the same whatever file they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medvqa.types import UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medvqa.types import ModelIdentity


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


def digest_tokens(token_ids: Sequence[int]) -> str:
    """SHA-256, in hex, of token ids in decimal with one space between them, in ASCII."""
    return hashlib.sha256(" ".join(map(str, token_ids)).encode()).hexdigest()


def digest_model(identity: ModelIdentity) -> str:
    """One SHA-256, in hex, for all the files of a model: what an event's `model` holds.

    It covers three lines in ASCII, each ended by a newline: `weights`, `adapter` and `tokenizer`, one space,
    and the digest that `ModelIdentity` has of those files, or `none`. Where the weights are `UNKNOWN`, there
    is a fourth line: `name`, one space and the model's name in UTF-8, which is all that tells it apart.
    """
    digests = {
        "weights": identity.weights_sha256,
        "adapter": identity.adapter_sha256,
        "tokenizer": identity.tokenizer_sha256,
    }
    lines = "".join(f"{name} {digest or 'none'}\n" for name, digest in digests.items())
    if identity.weights_sha256 == UNKNOWN:
        lines += f"name {identity.name}\n"
    return hashlib.sha256(lines.encode()).hexdigest()
