"""Presentation: from modality values to the display intensity that a reader and the model see.

Each modality has one declared MONAI `Compose`. Its transforms keep the rows and columns of the pixel matrix
and leave their name and parameters in `Image.applied`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from monai.transforms.compose import Compose
from monai.transforms.transform import Transform

from medvqa.errors import PixelError
from medvqa.imaging.transforms import ExcludePadding, FillBlack, Invert, ScaleRange, VoiLut, VoiWindow, record
from medvqa.types import Frame, Image, Window, WindowName

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medvqa.types import Values

CT_WINDOWS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"lung": (-600, 1500), "bone": (400, 1800), "brain": (40, 80), "soft_tissue": (50, 400)}
)
"""Center and width in Hounsfield units: lungs, spinal bone, brain and abdominal soft tissues.

Reference: A. Murphy et al., "Windowing (CT)", Radiopaedia.org, https://radiopaedia.org/articles/windowing-ct.
"""

PERCENTILES = (0.5, 99.5)
"""Shown range of MR and of whatever has no better rule: cuts vessel inflow and coil hot spots."""
FILM_PERCENTILES = (0.1, 99.9)
"""Shown range of a radiograph without VOI: the full range but for markers and dead detector elements."""
LEAST_CONTRAST = 0.1
"""A file's VOI must spread the image's percentiles this far over [0, 1], or it does not fit the image."""

_CT_ORDER = ("soft_tissue", "bone", "lung")

# Taking every third row and column of a 3000 x 3000 film moves its percentiles by next to nothing.
_SAMPLE = 1_000_000


def present(frame: Frame, *, window: WindowName | None = None) -> Image:
    """Turn one decoded frame into the image that is shown, asked about and explained.

    Args:
        frame: Modality values (rows, columns), or 8-bit RGB (rows, columns, 3).
        window: A CT window by name, `file` for the file's own VOI LUT or window, or None for the rule of the
            modality: see `PRESENTATIONS`.

    Returns:
        Display intensity in [0, 1] with the rows and columns of `frame`, read-only, and what was applied.

    Raises:
        PixelError: If a CT window is asked for on another modality, or `file` where the file has no VOI.

    Reference: DICOM PS3.3 C.11.2 (VOI LUT Module).
    """
    steps = pipeline(frame, window=window)
    with np.errstate(over="ignore", invalid="ignore"):
        pixels = np.ascontiguousarray(steps(frame.values), dtype=np.float32)
    pixels.setflags(write=False)
    return Image(
        ref=frame.ref,
        pixels=pixels,
        modality=frame.modality,
        pixel_spacing_mm=frame.pixel_spacing_mm,
        orientation=frame.orientation,
        position=frame.position,
        applied=(*frame.applied, *(record(step) for step in steps.transforms)),
    )


def pipeline(frame: Frame, *, window: WindowName | None = None) -> Compose:
    """Declare the transforms that `present` applies to `frame`, with every parameter already a number.

    Raises:
        PixelError: As `present`.
    """
    if window is None:
        return _colour() if _is_colour(frame) else PRESENTATIONS.get(frame.modality, _other)(frame)
    if window == "file":
        voi = None if _is_colour(frame) else _file_voi(frame)
        if voi is None:
            raise PixelError(
                f"instance {frame.ref.sop_instance_uid} gives no usable VOI LUT (0028,3010) or window "
                "(0028,1050): leave the window out to use the rule of its modality"
            )
        return _grey(frame, voi)
    if frame.modality != "CT" or _is_colour(frame):
        raise PixelError(
            f"window {window!r} is in Hounsfield units and fits CT alone, but instance "
            f"{frame.ref.sop_instance_uid} has Modality (0008,0060) {frame.modality!r}: "
            "use 'file' or leave the window out"
        )
    return _grey(frame, _ct_window(window))


def shown_range(frame: Frame) -> tuple[float, float]:
    """Return the modality values between which `present` tells shades apart by the rule of the modality."""
    steps = pipeline(frame).transforms
    return next(step.ends for step in steps if isinstance(step, VoiWindow | VoiLut | ScaleRange))


def to_uint8(image: Image) -> NDArray[np.uint8]:
    """Return the image as 8-bit RGB, shape (rows, columns, 3), as image processors and PNG files want it."""
    levels = np.rint(image.pixels * 255).astype(np.uint8)
    return levels if levels.ndim == 3 else np.repeat(levels[:, :, np.newaxis], 3, axis=2)


def _grey(frame: Frame, intensity: Transform) -> Compose:
    steps: list[Transform] = []
    if frame.padding is not None:
        steps.append(ExcludePadding(low=frame.padding[0], high=frame.padding[1]))
    steps.append(intensity)
    if frame.photometric_interpretation == "MONOCHROME1":
        steps.append(Invert())
    return Compose([*steps, FillBlack()])


def _colour() -> Compose:
    return Compose([ScaleRange(low=0, high=255, source="8-bit")])


def _ct(frame: Frame) -> Compose:
    windows = (_ct_window(name) for name in _CT_ORDER)
    fitting = _fitting_voi(frame) or next((window for window in windows if _fits(frame, window)), None)
    return _grey(frame, fitting or _percentile_range(frame, PERCENTILES))


def _film(frame: Frame) -> Compose:
    return _grey(frame, _fitting_voi(frame) or _percentile_range(frame, FILM_PERCENTILES))


def _ultrasound(frame: Frame) -> Compose:
    low, high = _extent(_measured(frame, frame.values))
    if low >= 0 and high <= 255:
        return _grey(frame, _fitting_voi(frame) or ScaleRange(low=0, high=255, source="8-bit"))
    return _other(frame)


def _other(frame: Frame) -> Compose:
    return _grey(frame, _fitting_voi(frame) or _percentile_range(frame, PERCENTILES))


PRESENTATIONS: Mapping[str, Callable[[Frame], Compose]] = MappingProxyType(
    {
        "CT": _ct,
        "MR": _other,
        **dict.fromkeys(("CR", "DX", "MG", "RF", "XA", "IO", "PX"), _film),
        **dict.fromkeys(("US", "IVUS"), _ultrasound),
    }
)
"""The rule of each Modality (0008,0060) for grey frames; colour is shown as it is.

CT takes the first that fits the image (`LEAST_CONTRAST`) of the file's VOI, `soft_tissue`, `bone` and `lung`,
else `PERCENTILES`. Every other modality takes the file's VOI where it fits; else radiographs take
`FILM_PERCENTILES`, 8-bit ultrasound its 8 bits, and all others, `unknown` included, `PERCENTILES`.
"""

_Voi: TypeAlias = VoiLut | VoiWindow


def _ct_window(name: str) -> VoiWindow:
    center, width = CT_WINDOWS[name]
    return VoiWindow(center=center, width=width, source=name)


def _file_voi(frame: Frame) -> _Voi | None:
    """Return the file's VOI LUT or else its first window that obeys the Standard."""
    lut = frame.voi_lut
    if lut is not None and lut.entries and lut.bits > 0:
        return VoiLut(first_mapped=lut.first_mapped, bits=lut.bits, entries=lut.entries)
    window = next(filter(_obeys_standard, frame.windows), None)
    if window is None:
        return None
    return VoiWindow(center=window.center, width=window.width, function=window.function, source="file")


def _obeys_standard(window: Window) -> bool:
    positive = window.width >= 1 if window.function == "LINEAR" else window.width > 0
    return positive and math.isfinite(window.width) and math.isfinite(window.center)


def _fitting_voi(frame: Frame) -> _Voi | None:
    """Return the file's VOI unless it shows nearly all of this image as one grey."""
    voi = _file_voi(frame)
    return voi if voi is not None and _fits(frame, voi) else None


def _fits(frame: Frame, voi: _Voi) -> bool:
    dark, bright = voi(np.array(_percentiles(frame, PERCENTILES), np.float32))
    return abs(bright - dark) >= LEAST_CONTRAST


def _percentile_range(frame: Frame, ranks: tuple[float, float]) -> ScaleRange:
    low, high = _percentiles(frame, ranks)
    return ScaleRange(low=low, high=high, source=f"percentiles {ranks[0]:g} and {ranks[1]:g}")


def _percentiles(frame: Frame, ranks: tuple[float, float]) -> tuple[float, float]:
    """Return two percentiles of what was measured, or its whole extent where they coincide."""
    stride = max(1, math.isqrt(frame.values.size // _SAMPLE))
    sample = _measured(frame, frame.values[::stride, ::stride])
    if sample.size:
        low, high = (float(value) for value in np.percentile(sample.astype(np.float64), ranks))
        if low < high:
            return low, high
    return _extent(_measured(frame, frame.values))


def _measured(frame: Frame, values: Values) -> Values:
    """Return the finite values that are no padding, flat."""
    if frame.padding is not None:
        values = ExcludePadding(low=frame.padding[0], high=frame.padding[1])(values)
    return values[np.isfinite(values)]


def _extent(values: Values) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def _is_colour(frame: Frame) -> bool:
    return frame.values.ndim == 3
