"""An image on its way to the viewer: stored values, and tables that say how bright each of them is shown.

The tables come from the engine's own presentation, so that a reader sees what the model saw. In a window of
the reader's own the browser computes the shades itself, by the same formula.
"""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from medvqa.errors import PixelError
from medvqa.heatmaps.overlay import colour_table
from medvqa.imaging import pipeline, shown_range

if TYPE_CHECKING:
    from monai.transforms.compose import Compose
    from numpy.typing import NDArray

    from medvqa.types import Frame, Heatmap, ImageRef, Values

_MOST_ENTRIES = 65536
"""Stored values travel as 16 bits."""


def pack_frame(frame: Frame) -> bytes:
    """The length of a header as little-endian uint32, the header as JSON, pixels, and the tables it names.

    Grey pixels are little-endian uint16 with `slope` and `intercept` to modality values: exact where those
    are whole numbers less than 65,536 apart, else to a 65,535th of their range. Colour is RGB in bytes.
    """
    rows, columns = frame.values.shape[:2]
    header: dict[str, Any] = {
        "ref": frame_key(frame.ref),
        "rows": rows,
        "columns": columns,
        "modality": frame.modality,
        "unit": "HU" if frame.modality == "CT" else "",
        "spacing": frame.pixel_spacing_mm,
        "edges": frame.edges,
        "laterality": frame.laterality,
    }
    if frame.values.ndim == 3:
        header |= {"channels": 3, "entries": 0, "presentations": []}
        return _join(header, [np.ascontiguousarray(frame.values)])
    stored, slope, intercept = _store(frame.values)
    entries = int(stored.max()) + 1
    tables = _tables(frame, intercept + slope * np.arange(entries, dtype=np.float32))
    low, high = shown_range(frame)
    header |= {
        "channels": 1,
        "slope": slope,
        "intercept": intercept,
        "entries": entries,
        "darkIsHigh": frame.photometric_interpretation == "MONOCHROME1",
        # As LINEAR counts them (PS3.3 C.11.2.1.2.1), in steps of the stored values.
        "window": {"center": (low + high + slope) / 2, "width": high - low + slope},
        "presentations": list(tables),
    }
    return _join(header, [stored.astype("<u2"), *tables.values()])


def frame_key(ref: ImageRef) -> str:
    """One text for an instance and a frame: by it a heatmap finds its image, wherever that stands now."""
    return f"{ref.sop_instance_uid}/{ref.frame_number}"


def pack_heatmap(heatmap: Heatmap) -> bytes:
    """256 colours as RGB, then a byte for each pixel of the image, by rows."""
    return colour_table().tobytes() + np.rint(heatmap.values * 255).astype(np.uint8).tobytes()


def _store(values: Values) -> tuple[NDArray[np.uint16], float, float]:
    measured = values[np.isfinite(values)]
    low, high = (float(measured.min()), float(measured.max())) if measured.size else (0.0, 0.0)
    whole = high - low < _MOST_ENTRIES and bool(np.all(measured == np.rint(measured)))
    slope = 1.0 if whole else (high - low) / (_MOST_ENTRIES - 1)
    filled = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low)
    steps = (filled - low) / slope
    return np.rint(steps).astype(np.uint16), slope, low


def _tables(frame: Frame, values: Values) -> dict[str, NDArray[np.uint8]]:
    """As bytes, how bright each value is shown by the rule of the modality and by the file's own VOI."""
    tables = {"automatic": _shades(pipeline(frame), values)}
    with suppress(PixelError):  # the file has none
        tables["file"] = _shades(pipeline(frame, window="file"), values)
    return tables


def _shades(steps: Compose, values: Values) -> NDArray[np.uint8]:
    shown: Any = steps(values[np.newaxis])
    return np.rint(shown * 255).astype(np.uint8)[0]


def _join(header: dict[str, Any], parts: list[NDArray[Any]]) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    return b"".join((struct.pack("<I", len(text)), text, *(part.tobytes() for part in parts)))
