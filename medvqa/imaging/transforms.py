"""The transforms of presentation: MONAI array transforms that follow DICOM PS3.3 to the letter.

Every field is a number or a word, so that a transform is told in JSON and built again from it. NaN stands for
"nothing was measured here" from the first transform to `FillBlack`, which ends each `Compose`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from monai.transforms.transform import Transform

from medvqa.types import Applied

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medvqa.types import Pixels, Values


@dataclass(frozen=True, kw_only=True)
class ExcludePadding(Transform):
    """Mark as NaN the values from `low` to `high`, both included: Pixel Padding Value (0028,0120)."""

    low: float
    high: float

    def __call__(self, data: Values) -> Values:
        """Return a copy of `data`, any shape, without the padding."""
        # Bounds and values may come from different roundings of the same rescale: widen by one step.
        low = np.nextafter(np.float32(self.low), np.float32(-np.inf))
        high = np.nextafter(np.float32(self.high), np.float32(np.inf))
        return np.where((data >= low) & (data <= high), np.float32(np.nan), data)


@dataclass(frozen=True, kw_only=True)
class VoiWindow(Transform):
    """Apply a VOI window, `center` and `width` in modality units, giving [0, 1].

    Reference: DICOM PS3.3 C.11.2.1.2.1 (`LINEAR`, width at least 1), C.11.2.1.3.1 (`SIGMOID`) and
    C.11.2.1.3.2 (`LINEAR_EXACT`), both of positive width.
    """

    center: float
    width: float
    function: Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"] = "LINEAR"
    source: str

    def __call__(self, data: Values) -> Pixels:
        """Return display intensity for modality values of any shape."""
        if self.function == "SIGMOID":
            # 1 / (1 + exp(-4 x)) written so that no exponential can overflow.
            steepness = np.float32(2 / self.width)
            return np.float32(0.5) * (1 + np.tanh(steepness * (data - np.float32(self.center))))
        low, high = self.ends
        return _ramp(data, low=low, high=high)

    @property
    def ends(self) -> tuple[float, float]:
        """The values shown as 0 and as 1; a sigmoid's straight line would reach both there."""
        shift, cut = (0.5, 1) if self.function == "LINEAR" else (0, 0)
        center, width = self.center - shift, self.width - cut
        return center - width / 2, center + width / 2


@dataclass(frozen=True, kw_only=True)
class VoiLut(Transform):
    """Apply a VOI LUT, giving [0, 1]; values off its ends take the nearest entry (PS3.3 C.11.2.1.1)."""

    first_mapped: int
    bits: int
    entries: tuple[int, ...]

    def __call__(self, data: Values) -> Pixels:
        """Return display intensity for modality values of any shape."""
        shown = np.clip(np.asarray(self.entries, np.float32) / (2**self.bits - 1), 0, 1)
        index = np.clip(np.rint(data) - self.first_mapped, 0, len(shown) - 1)
        missing = np.isnan(index)
        return np.where(missing, np.float32(np.nan), shown[np.where(missing, 0, index).astype(np.intp)])

    @property
    def ends(self) -> tuple[float, float]:
        """The values of the first and of the last entry."""
        return float(self.first_mapped), float(self.first_mapped + len(self.entries) - 1)


@dataclass(frozen=True, kw_only=True)
class ScaleRange(Transform):
    """Map `low` to 0 and `high` to 1, linearly, and clip; `source` says where the range comes from."""

    low: float
    high: float
    source: str

    def __call__(self, data: NDArray[Any]) -> Pixels:
        """Return display intensity for values of any shape, colour included."""
        return _ramp(data, low=self.low, high=self.high)

    @property
    def ends(self) -> tuple[float, float]:
        """The values shown as 0 and as 1."""
        return self.low, self.high


@dataclass(frozen=True, kw_only=True)
class Invert(Transform):
    """Turn display intensity over: MONOCHROME1 shows its lowest value as white (PS3.3 C.7.6.3.1.2)."""

    def __call__(self, data: Pixels) -> Pixels:
        """Return 1 minus `data`."""
        return 1 - data


@dataclass(frozen=True, kw_only=True)
class FillBlack(Transform):
    """Show as black what was never measured: padding and NaN, in MONOCHROME1 too."""

    def __call__(self, data: Pixels) -> Pixels:
        """Return `data` with 0 in place of NaN."""
        return np.nan_to_num(data, nan=0.0)


def record(step: Any) -> Applied:
    """Return the name (`voi_window` for `VoiWindow`) and JSON-ready parameters of a transform above."""
    parameters = {field.name: getattr(step, field.name) for field in fields(step)}
    if isinstance(step, VoiLut):
        # The table stays in the file: 65,536 numbers in the record of every answer help nobody.
        table = np.asarray(step.entries, "<u4").tobytes()
        parameters |= {"entries": len(step.entries), "entries_sha256": hashlib.sha256(table).hexdigest()}
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(step).__name__).lower()
    return Applied(name=name, parameters=parameters)


def _ramp(values: NDArray[Any], *, low: float, high: float) -> Pixels:
    """Rise from 0 at `low` to 1 at `high`; where they meet, step up just above them."""
    span = np.float32(high - low)
    if span <= 0:
        return np.where(np.isnan(values), values, values > low).astype(np.float32)
    shown = np.subtract(values, np.float32(low), dtype=np.float32)
    shown /= span
    return np.clip(shown, 0, 1, out=shown)
