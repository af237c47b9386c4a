"""Painting over parts of stored pixels, and clearing the bits that no pixel uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.uid import ExplicitVRBigEndian

from medvqa.dicom.instances import count_frames
from medvqa.errors import DeidentificationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

_SIGNED = {8: "i1", 16: "<i2", 32: "<i4"}
_UNSIGNED = {8: "u1", 16: "<u2", 32: "<u4"}
_LAYOUTS = frozenset(
    {("MONOCHROME1", 1), ("MONOCHROME2", 1), ("PALETTE COLOR", 1), ("RGB", 3), ("YBR_FULL", 3)}
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Region:
    """Rows and columns to paint over, from 0; the last of each is not part of it."""

    top: int
    bottom: int
    left: int
    right: int


def clean_pixels(dataset: Dataset, regions: Iterable[Region]) -> bool:
    """Bring pixel data to native form and paint regions of every frame in its background.

    Outside of the regions every value stays as it was. Bits that are allocated but not stored, in which old
    files keep overlays, are cleared where they hold something; a signed value's sign goes on in them.

    Args:
        dataset: With its file meta information; encapsulated pixel data are decompressed.
        regions: Inside the rows and columns.

    Returns:
        Whether unused bits were cleared.

    Raises:
        DeidentificationError: If the pixel data are laid out in a way that cannot be painted on.

    Reference: DICOM PS3.5 8.1, 8.2; PS3.3 C.7.6.3.1, C.9.2 (overlays in unused bits, retired).
    """
    if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian:
        raise DeidentificationError(
            "is encoded as Explicit VR Big Endian, which is retired; convert it first"
        )
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        dataset.decompress(as_rgb=False, generate_instance_uid=False)
    stored = _frames(dataset)
    cleared = _clear_unused_bits(stored, dataset)
    photometric = str(dataset.PhotometricInterpretation)
    for region in regions:
        for frame in stored:
            part = frame[region.top : region.bottom, region.left : region.right]
            part[...] = _background(frame, photometric)
    if dataset.get("PlanarConfiguration") == 1 and stored.shape[-1] == 3:
        stored = np.moveaxis(stored, -1, 1)
    content = np.ascontiguousarray(stored).tobytes()
    dataset["PixelData"].value = content + b"\0" * (len(content) % 2)
    return cleared


def _frames(dataset: Dataset) -> NDArray[Any]:
    """A copy of the stored values, shape (frames, rows, columns, samples)."""
    rows, columns, samples = int(dataset.Rows), int(dataset.Columns), int(dataset.SamplesPerPixel)
    bits = int(dataset.BitsAllocated)
    if (str(dataset.PhotometricInterpretation), samples) not in _LAYOUTS or bits not in _UNSIGNED:
        raise DeidentificationError(
            f"lays out its pixels as {dataset.PhotometricInterpretation} of {samples} samples and {bits} "
            "bits, on which cannot be painted; convert it to RGB or MONOCHROME2 first"
        )
    frames = count_frames(dataset) or 1
    kinds = _SIGNED if dataset.get("PixelRepresentation") == 1 else _UNSIGNED
    values = np.frombuffer(dataset.PixelData, dtype=np.uint8)
    length = frames * rows * columns * samples * bits // 8
    if len(values) < length:
        raise DeidentificationError("holds fewer pixels than it says; export it again from where it came")
    # What follows the last pixel belongs to none, and is left behind.
    stored = values[:length].copy().view(kinds[bits])
    if samples == 3 and dataset.get("PlanarConfiguration") == 1:
        return np.moveaxis(stored.reshape(frames, samples, rows, columns), 1, -1).copy()
    return stored.reshape(frames, rows, columns, samples)


def _clear_unused_bits(stored: NDArray[Any], dataset: Dataset) -> bool:
    allocated, bits = int(dataset.BitsAllocated), int(dataset.get("BitsStored") or dataset.BitsAllocated)
    high = int(dataset.get("HighBit", bits - 1))
    above, below = allocated - 1 - high, high + 1 - bits
    if not (0 <= above < allocated and 0 <= below < allocated) or above + below == 0:
        return False
    raw = stored.view(f"<u{allocated // 8}")
    used = ((1 << bits) - 1) << below
    if not (raw & ~np.array(used, raw.dtype)).any():
        return False
    # Shifted up and down again, a value fills what is above it with zeros or with its sign.
    plain = (stored << above) >> (above + below) << below
    if (plain == stored).all():
        return False
    stored[...] = plain
    return True


def _background(frame: NDArray[Any], photometric: str) -> Any:
    """What to paint with: the darkest value of the frame, so that its range stays as it was."""
    match photometric:
        case "MONOCHROME1":
            return frame.max()
        case "MONOCHROME2":
            return frame.min()
        case "RGB":
            return 0
        case "YBR_FULL":
            return np.array([0, 128, 128]).astype(frame.dtype)
        case _:  # PALETTE COLOR, whose numbers say nothing of how light they are
            levels, counts = np.unique(frame, return_counts=True)
            return levels[counts.argmax()]
