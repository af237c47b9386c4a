"""What size a compressed frame claims to have, before a decoder believes it."""

from __future__ import annotations

# Start of image, and the markers that stand alone, without a length: ITU-T T.81 B.1.1.3.
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
# Start of frame: T.81 B.1.1.3 without DHT, JPG and DAC, and JPEG-LS (T.87).
_FRAME_STARTS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_JPEG_START = b"\xff\xd8"
# SOC and SIZ, with which every JPEG 2000 code stream opens: T.800 A.4.1, A.5.1.
_JPEG_2000_START = b"\xff\x4f\xff\x51"


def read_stream_size(data: bytes) -> tuple[int, int] | None:
    """Return the rows and columns that a JPEG, JPEG-LS or JPEG 2000 stream claims, or None for another.

    A stream of a few kilobytes may claim gigapixels, and a decoder would take minutes and all memory to
    find out that they are not there.

    Args:
        data: One encoded frame.
    """
    start = data.find(_JPEG_2000_START, 0, 512)
    if start >= 0:
        right, bottom, left, top = (_number(data, start + at, 4) for at in (8, 12, 16, 20))
        return bottom - top, right - left
    return _read_jpeg_size(data) if data.startswith(_JPEG_START) else None


def _read_jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF:
            return None
        if marker in _FRAME_STARTS:
            return _number(data, at + 5, 2), _number(data, at + 7, 2)
        if marker == 0xFF:  # fill byte
            at += 1
        else:
            at += 2 if marker in _ALONE else 2 + _number(data, at + 2, 2)
    return None


def _number(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "big")
