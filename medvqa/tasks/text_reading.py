"""Text that is burned into the pixels, read by RapidOCR on this machine.

The package carries its models (PP-OCR, Apache-2.0) as files, which are named here one by one, since it would
otherwise fetch what it misses from the network.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

try:
    from rapidocr import RapidOCR
except ImportError:  # of the extra `ocr`
    RapidOCR = None

from medvqa.errors import TaskError
from medvqa.imaging import to_uint8
from medvqa.tasks.results import TextRegion, TextRegions
from medvqa.tasks.side_markers import kind_of

if TYPE_CHECKING:
    from medvqa.types import Image

LEAST_CONFIDENCE = 0.5
"""Lines that the engine is less sure of are left out: on bones and speckle they are not text."""

TALLEST = 0.5
"""Of the image's rows: an engine that finds no line takes the whole for one, and a round head for a 0."""

_PACKAGES = ("rapidocr", "onnxruntime")


def is_available() -> bool:
    """Whether the engine is installed."""
    return RapidOCR is not None


def identify_engine() -> dict[str, str]:
    """Versions of its packages and SHA-256 of its models, by name.

    Raises:
        TaskError: If it is not installed, or a model is missing.
    """
    digests = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in _models().values()}
    return {name: version(name) for name in _PACKAGES} | digests


def read_text(image: Image) -> TextRegions:
    """All lines of text in an image, with the boxes around them.

    Args:
        image: As it is shown; light text on dark and the other way round.

    Raises:
        TaskError: If the engine is not installed, or a model is missing.
    """
    rows, columns = image.shape
    blue_first = np.ascontiguousarray(to_uint8(image)[..., ::-1])
    read = _engine()(blue_first, text_score=LEAST_CONFIDENCE)
    lines = [] if read.txts is None else zip(read.txts, read.scores, read.boxes, strict=True)
    found = (_region(text, float(score), corners, image.shape) for text, score, corners in lines)
    regions = sorted((one for one in found if one is not None), key=lambda one: (one.top, one.left))
    return TextRegions(
        rows=rows, columns=columns, regions=tuple(regions), read_by=f"rapidocr {version('rapidocr')}"
    )


def _region(text: str, score: float, corners: Any, shape: tuple[int, int]) -> TextRegion | None:
    """A line with the upright box around its four corners (column, row); None where it is none."""
    (left, top), (right, bottom) = corners.min(0).tolist(), corners.max(0).tolist()
    top, bottom = (round(min(max(row, 0.0), shape[0]), 2) for row in (top, bottom))
    left, right = (round(min(max(column, 0.0), shape[1]), 2) for column in (left, right))
    if not (text.strip() and top < bottom <= top + TALLEST * shape[0] and left < right):
        return None
    kind, side = kind_of(text)
    return TextRegion(
        top=top,
        left=left,
        bottom=bottom,
        right=right,
        text=text.strip(),
        kind=kind,
        side=side,
        confidence=min(max(score, 0.0), 1.0),
    )


@lru_cache(maxsize=1)
def _engine() -> Any:
    models = _models()
    if RapidOCR is None:
        raise _missing()
    return RapidOCR(
        params={
            "Det.model_path": str(models["det"]),
            "Rec.model_path": str(models["rec"]),
            "EngineConfig.onnxruntime.intra_op_num_threads": torch.get_num_threads(),
            "Global.use_cls": False,
            "Global.log_level": "critical",
        }
    )


def _models() -> dict[str, Path]:
    spec = find_spec("rapidocr")
    if RapidOCR is None or spec is None or spec.origin is None:
        raise _missing()
    folder = Path(spec.origin).parent / "models"
    found = {part: sorted(folder.glob(f"*_{part}_*.onnx")) for part in ("det", "rec")}
    if not all(found.values()):
        raise TaskError("RapidOCR lacks its models; install it again: pip install --force-reinstall rapidocr")
    return {part: paths[-1] for part, paths in found.items()}


def _missing() -> TaskError:
    return TaskError(
        "to read burned-in text takes RapidOCR, which is not installed; install it with pip install "
        "'medvqa[ocr]', or use a model that reads text itself (florence2)"
    )
