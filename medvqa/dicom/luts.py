"""Lookup tables of DICOM: reading their entries and mapping values through them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset

from medvqa.types import LookupTable

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_lookup_table(item: Dataset, parent: Dataset) -> LookupTable | None:
    """Read LUT Descriptor (0028,3002) and LUT Data (0028,3006) of one sequence item.

    pydicom's own functions refuse tables of 9 to 15 bits or 8-bit entries packed into words; both occur.

    Args:
        item: Of a Modality LUT Sequence or VOI LUT Sequence.
        parent: The data set that holds it, for its byte order and Pixel Representation (0028,0103).

    Returns:
        The table, or None where it is incomplete.

    Reference: DICOM PS3.3 C.11.1.1 and C.11.2.1.1.
    """
    descriptor: Any = item.get("LUTDescriptor")
    data: Any = item.get("LUTData")
    if descriptor is None or data is None or len(descriptor) != 3:
        return None
    count, first, bits = (int(value) for value in descriptor)
    count = count or 1 << 16  # 0 stands for 65,536, which 16 bits cannot say
    if first > 0x7FFF and parent.get("PixelRepresentation") == 1:
        first -= 1 << 16  # read as US where the pixels are signed
    little = parent.original_encoding[1] is not False
    entries = _entries(data, count=count, bits=bits, little=little)
    if len(entries) < count or not 1 <= bits <= 16:
        return None
    return LookupTable(first_mapped=first, bits=bits, entries=tuple(entries[:count].tolist()))


def _entries(data: Any, *, count: int, bits: int, little: bool) -> NDArray[np.uint16]:
    if isinstance(data, bytes):
        if len(data) < 2 * count and bits <= 8:
            return np.frombuffer(data, dtype="u1").astype("u2")
        return np.frombuffer(data[: len(data) // 2 * 2], dtype="<u2" if little else ">u2").astype("u2")
    words = np.atleast_1d(np.asarray(data)).astype("i8").astype("u2")
    if len(words) < count and bits <= 8:
        return np.frombuffer(words.astype("<u2").tobytes(), dtype="u1").astype("u2")
    return words


def apply_lookup_table(values: NDArray[Any], table: LookupTable) -> NDArray[np.uint16]:
    """Map each value through the table; values outside it take its first or last entry.

    Args:
        values: Whole numbers, any shape.
        table: See `LookupTable`.

    Returns:
        Entries, same shape as `values`.
    """
    entries = np.asarray(table.entries, dtype=np.uint16)
    index = np.clip(values.astype(np.int64) - table.first_mapped, 0, len(entries) - 1)
    return entries[index]
