"""The gate: what is refused or warned of before a model sees an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from medvqa.errors import GateError
from medvqa.types import Image, Notice, Study

# An image processor that squares a 20:1 image leaves under 5 % of its resolution on the long side.
ASPECT_REFUSED = 20.0
# Beyond films of the whole spine or leg (about 3:1), no examination is this long.
ASPECT_WARNED = 5.0
# A vision tower's patch is 14 or 16 pixels: below two patches a side there is no structure to see.
TINY_SIDE = 32
# One gray level on 99 % of the pixels: a scout with a few marks, a failed exposure, an empty slice.
NEARLY_BLANK_SHARE = 0.99
# Black and white together on 90 %: the window has cut off the image. CT in a lung window stays below 80 %.
SATURATED_SHARE = 0.90


class _Finding(NamedTuple):
    message: str
    """Follows 'n of m files'."""
    tag: str


_HEADER: Mapping[str, _Finding] = MappingProxyType(
    {
        "burned_in_annotation": _Finding(
            "say that annotation is burned into the pixels, which may name the patient and mislead the model;"
            " use the images without it",
            "(0028,0301)",
        ),
        "lossy_compression": _Finding(
            "have been compressed with loss at some time, so fine detail may be an artifact;"
            " prefer the original images",
            "(0028,2110)",
        ),
        "missing_rescale": _Finding(
            "are CT without rescale, so values may not be Hounsfield units and named windows may be wrong;"
            " export them with Rescale Slope and Intercept",
            "(0028,1053)",
        ),
        "bad_rescale": _Finding(
            "state a rescale slope of 0, which would erase the image and was ignored; export them again",
            "(0028,1053)",
        ),
        "bad_window": _Finding(
            "state a window of no width, which was ignored; check the brightness or choose a window",
            "(0028,1051)",
        ),
        "overlay_ignored": _Finding(
            "carry overlays, which are not drawn and which the model does not see;"
            " look at them in your own viewer",
            "(6000,3000)",
        ),
        "non_square_pixels": _Finding(
            "have pixels that are not square, so shapes look stretched to the model; read sizes with care",
            "(0028,0034)",
        ),
        "missing_modality": _Finding(
            "do not say which modality they are; check that the model suits them", "(0008,0060)"
        ),
        "color_map_ignored": _Finding(
            "carry a supplemental color map, which is not drawn; look at it in your own viewer",
            "(0008,9205)",
        ),
    }
)


def inspect_header(attributes: Dataset) -> tuple[str, ...]:
    """Name what a header gives reason to warn of.

    Args:
        attributes: Of one frame, functional groups flattened; no pixel data needed.

    Returns:
        Codes, for `summarise_headers` to turn into one notice each.
    """
    slope = _number(attributes, "RescaleSlope")
    width = _number(attributes, "WindowWidth")
    aspect = _numbers(attributes, "PixelAspectRatio") or _numbers(attributes, "PixelSpacing")
    modality = _text(attributes, "Modality")
    rescaled = slope is not None or bool(attributes.get("ModalityLUTSequence"))
    found = {
        "burned_in_annotation": _text(attributes, "BurnedInAnnotation") == "YES",
        "lossy_compression": _text(attributes, "LossyImageCompression") == "01",
        "missing_rescale": modality == "CT" and not rescaled,
        "bad_rescale": slope == 0,
        "bad_window": width is not None and width <= 0,
        "overlay_ignored": any(element.tag.group >> 8 == 0x60 for element in attributes),
        "non_square_pixels": len(aspect) == 2 and 0 not in aspect and abs(aspect[0] / aspect[1] - 1) > 0.01,
        "missing_modality": not modality,
        "color_map_ignored": _text(attributes, "PixelPresentation") in ("COLOR", "MIXED"),
    }
    return tuple(code for code, is_so in found.items() if is_so)


def says_deidentified(attributes: Dataset) -> bool:
    """Whether a header says that the patient's identity was removed from attributes and pixels.

    Reference: Patient Identity Removed (0012,0062), DICOM PS3.3 C.7.1.1.
    """
    return _text(attributes, "PatientIdentityRemoved") == "YES"


def check_leaving(study: Study) -> None:
    """Refuse a study whose images may tell who the patient is, before one of them leaves this machine.

    Of its files only pixels would leave. But pixels may hold names, and only (0012,0062) says that somebody
    saw to it that they do not. A Patient ID (0010,0020) in a file that says so is no ground for a refusal: it
    stands for a code there, and does not leave.

    Raises:
        GateError: If not every file says that the patient's identity was removed, or one says that
            annotation is burned in.
    """
    if any(notice.code == "burned_in_annotation" for notice in study.warnings):
        why = (
            "its files say that annotation is burned into the pixels (0028,0301), which may name the patient"
        )
    elif not study.deidentified:
        why = "not all of its files say that the patient's identity was removed (0012,0062)"
    else:
        return
    raise GateError(
        f"the study is not sent to the model's server, for {why}; de-identify it with medvqa"
        " deidentify, use a model on this machine, or set remote_identified = true where patients' images"
        " may go there"
    )


def summarise_headers(codes: Iterable[str], *, files: int) -> tuple[Notice, ...]:
    """Turn the codes of all headers of a study into one notice each, saying how many files it concerns.

    Args:
        codes: From `inspect_header`, of all files one after the other.
        files: How many files were inspected.
    """
    counts = Counter(codes)
    return tuple(
        Notice(code=code, message=f"{counts[code]} of {files} files {finding.message}", tag=finding.tag)
        for code, finding in _HEADER.items()
        if counts[code]
    )


def check_image(image: Image, *, modalities: frozenset[str]) -> tuple[Notice, ...]:
    """Look at one image before a model answers about it.

    Args:
        image: As presented.
        modalities: Of the model in use, as in Modality (0008,0060); empty where the model does not say.

    Returns:
        Warnings: `tiny_image`, `long_image`, `nearly_blank`, `saturated`, `unsupported_modality`.

    Raises:
        GateError: If every pixel is the same, or one side is more than 20 times the other.
    """
    rows, columns = image.shape
    aspect = max(rows, columns) / min(rows, columns)
    if aspect > ASPECT_REFUSED:
        raise GateError(
            f"the image has {rows} rows and {columns} columns (0028,0010), longer than {ASPECT_REFUSED:g}:1,"
            " of which a model sees next to nothing; crop it to the part in question"
        )
    flat = image.pixels.reshape(rows * columns, -1)
    if bool((flat == flat[0]).all()):
        raise GateError(
            "every pixel of the image (7FE0,0010) looks the same, so there is nothing to ask about;"
            " choose another image or another window"
        )
    notices = [*_check_size(rows, columns, aspect), *_check_contrast(flat)]
    if modalities and image.modality not in modalities:
        known = ", ".join(sorted(modalities))
        message = f"the model was made for {known}, not for modality {image.modality}; use a model that was"
        notices.append(Notice(code="unsupported_modality", message=message, tag="(0008,0060)"))
    return tuple(notices)


def _check_size(rows: int, columns: int, aspect: float) -> list[Notice]:
    notices: list[Notice] = []
    if min(rows, columns) < TINY_SIDE:
        message = (
            f"the image has only {rows} x {columns} pixels, too few to show anatomy; use the original image"
        )
        notices.append(Notice(code="tiny_image", message=message, tag="(0028,0010)"))
    if aspect > ASPECT_WARNED:
        message = (
            f"the image is {aspect:.0f} times as long as it is wide, so the model sees it much reduced;"
            " crop it to the part in question"
        )
        notices.append(Notice(code="long_image", message=message, tag="(0028,0010)"))
    return notices


def _check_contrast(flat: np.ndarray[Any, Any]) -> list[Notice]:
    """Look at pixels of shape (pixels, samples), in [0, 1]."""
    levels = np.rint(flat * 255).astype(np.int64)
    counts = [np.bincount(sample, minlength=256) for sample in levels.T]
    # Of several samples the liveliest decides: a picture in red and green is not blank in blue.
    share = min(float(count.max()) for count in counts) / len(flat)
    if share >= NEARLY_BLANK_SHARE:
        message = (
            f"{share:.1%} of the pixels have one level, so there is little to see;"
            " choose another image or another window"
        )
        return [Notice(code="nearly_blank", message=message, tag="(7FE0,0010)")]
    clipped = min(float(count[0] + count[255]) for count in counts) / len(flat)
    if clipped >= SATURATED_SHARE:
        message = f"{clipped:.0%} of the pixels are black or white; choose another window"
        return [Notice(code="saturated", message=message, tag="(0028,1050)")]
    return []


def _text(attributes: Dataset, keyword: str) -> str:
    return str(attributes.get(keyword) or "").strip().upper()


def _numbers(attributes: Dataset, keyword: str) -> tuple[float, ...]:
    try:
        value: Any = attributes.get(keyword)
        parts = value if hasattr(value, "__iter__") else (value,)
        return tuple(float(part) for part in parts)
    except (TypeError, ValueError, OverflowError):
        return ()


def _number(attributes: Dataset, keyword: str) -> float | None:
    values = _numbers(attributes, keyword)
    return values[0] if values else None
