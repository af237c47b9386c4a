"""PNG and JPEG files as frames: pictures that carry no acquisition data at all."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
from PIL import ImageOps

from medvqa.digests import digest_pixels
from medvqa.errors import LimitError, PixelError
from medvqa.types import Applied, Frame, ImageRef, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PIXELS = 64_000_000
"""Rows times columns of the largest picture that is decoded: a small file may unfold into gigabytes."""

_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_EXIF_ORIENTATION = 0x0112
# What Pillow was seen, or is known, to raise on damaged files.
_BROKEN = (OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, struct.error, zlib.error)
# 8-bit grey is made to be seen as it is: under LINEAR this window is exactly value / 255.
_ALL_OF_8_BITS = Window(center=128, width=256, explanation="all of 8 bits")


def is_raster(source: Path | bytes) -> bool:
    """Tell whether a file, or the first eight bytes of one, is a PNG or a JPEG."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            source = file.read(8)
    return source.startswith(_SIGNATURES)


def read_raster(data: bytes, *, name: str) -> Frame:
    """Decode a PNG or JPEG file as one frame of modality `unknown`, upright by its EXIF orientation.

    Palettes become RGB, 16-bit grey keeps its values, and transparency is laid over black. The UIDs derive
    from the file's SHA-256, so that the same file is the same instance everywhere (root 2.25, PS3.5 B.2).

    Args:
        data: The whole file.
        name: What to call the file in an error.

    Raises:
        LimitError: If the picture holds more than `MAX_PIXELS` pixels.
        PixelError: If the file is broken or of another format.
    """
    values, decoding = _decode(data, name=name)
    file_sha256 = hashlib.sha256(data).hexdigest()
    is_colour = values.ndim == 3
    return Frame(
        ref=ImageRef(
            study_instance_uid=_uid("study", file_sha256),
            series_instance_uid=_uid("series", file_sha256),
            sop_instance_uid=_uid("instance", file_sha256),
            frame_number=1,
            pixel_sha256=digest_pixels(values),
            file_sha256=file_sha256,
        ),
        modality="unknown",
        photometric_interpretation="RGB" if is_colour else "MONOCHROME2",
        values=_read_only(values if is_colour else values.astype(np.float32)),
        windows=(_ALL_OF_8_BITS,) if not is_colour and values.dtype == np.uint8 else (),
        applied=(decoding,),
    )


def _decode(data: bytes, *, name: str) -> tuple[NDArray[Any], Applied]:
    """Return stored pixels, uint8 or uint16 (rows, columns) or uint8 (rows, columns, 3)."""
    try:
        with PIL.Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise LimitError(_too_large(name))
            decoding = Applied(
                name="decode_raster",
                parameters={
                    "format": picture.format,
                    "mode": picture.mode,
                    "exif_orientation": int(picture.getexif().get(_EXIF_ORIENTATION, 1)),
                },
            )
            return _pixels(ImageOps.exif_transpose(picture)), decoding
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise LimitError(_too_large(name)) from error
    except _BROKEN as error:
        raise PixelError(f"{name} is no readable PNG or JPEG: export it again from where it came") from error


def _pixels(picture: PIL.Image.Image) -> NDArray[Any]:
    if picture.mode.startswith("I"):
        # Older decoders widen 16-bit grey to 32 bits.
        return np.asarray(picture).astype(np.uint16)
    if picture.has_transparency_data:
        opaque = picture.convert("RGBA")
        picture = PIL.Image.alpha_composite(PIL.Image.new("RGBA", opaque.size, (0, 0, 0, 255)), opaque)
    is_grey = picture.mode in ("1", "L")
    return np.asarray(picture.convert("L" if is_grey else "RGB"))


def _too_large(name: str) -> str:
    return f"{name} holds more than {MAX_PIXELS:,} pixels: reduce it, or ask about a part of it"


def _uid(level: str, file_sha256: str) -> str:
    # 128 bits, as in the UUID that root 2.25 was made for: a UID holds 64 characters.
    return f"2.25.{int.from_bytes(hashlib.sha256(f'{level} {file_sha256}'.encode()).digest()[:16])}"


def _read_only(values: NDArray[Any]) -> NDArray[Any]:
    values = np.ascontiguousarray(values)
    values.setflags(write=False)
    return values
