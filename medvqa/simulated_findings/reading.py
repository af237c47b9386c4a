"""Reading back what `medvqa simulate` wrote: images, questions with their answers, and masks of the truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import highdicom
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from medvqa.errors import DicomError
from medvqa.simulation import Kind, Side

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TABLE = "findings.jsonl"
"""Name of the table in its folder: one finding a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question and the answer that each of the three images allows."""

    question: str
    answer: str
    """About the image with the finding."""
    answer_without: str
    """About the same image without it: another answer than `answer`."""
    answer_mirrored: str
    """About the mirrored image with the finding: left and right are exchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedFinding:
    """One simulated finding: three images, the truth, and what may be asked. Places are those of `image`."""

    number: int
    """From 1, in the order of the table."""
    kind: Kind
    image: Path
    """DICOM, with the finding."""
    image_without: Path
    """The same pixels but for those of the finding."""
    image_mirrored: Path
    """`image` with its columns reversed."""
    segmentation: Path
    """DICOM SEG of the finding in `image`."""
    segmentation_mirrored: Path
    """DICOM SEG of the finding in `image_mirrored`."""
    origin: str
    """`brain phantom`, `chest phantom`, `breast phantom` or `given image`."""
    modality: str
    rows: int
    columns: int
    side: Side
    """Half of the image, as the viewer sees it, that holds the centre."""
    quadrant: str
    """`upper left` and so on, as the viewer sees it."""
    row: float
    """Centre, in pixels from the top edge."""
    column: float
    """Centre, in pixels from the left edge."""
    size: float
    """In pixels: diameter of the circle about the centre that holds the finding."""
    contrast: float
    """Added display intensity where the finding is strongest, in [0, 1]."""
    seed: int
    """Of the whole set; together with `number` it decides the finding."""
    questions: tuple[Asked, ...]

    def mask(self, *, mirrored: bool = False) -> NDArray[np.bool_]:
        """Where the finding is, shape (rows, columns), aligned to the pixel matrix of its image.

        Args:
            mirrored: Of `image_mirrored` in place of `image`.

        Raises:
            DicomError: If the SEG is gone, broken, or of another image.
        """
        image = self.image_mirrored if mirrored else self.image
        return _read_mask(self.segmentation_mirrored if mirrored else self.segmentation, image)


def read_findings(folder: str | Path) -> tuple[SimulatedFinding, ...]:
    """Read the table of a folder that `medvqa simulate` wrote; images and masks are read when asked for.

    Raises:
        DicomError: If the folder holds no such table, or a line or file of it is missing or broken.
    """
    folder = Path(folder)
    table = folder / TABLE
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
        findings = tuple(_parse(json.loads(line), folder) for line in lines)
    except OSError as error:
        raise DicomError(f"{table} cannot be read; write the folder with `medvqa simulate`") from error
    except (ValueError, TypeError, KeyError) as error:
        raise DicomError(f"{table} is no table of findings; write it again with `medvqa simulate`") from error
    missing = [path for one in findings for path in _paths(one) if not path.is_file()]
    if missing:
        raise DicomError(f"{table} names {missing[0].name}, which is missing; write the folder again")
    return findings


def _parse(line: dict[str, Any], folder: Path) -> SimulatedFinding:
    values = {name: line[name] for name in (field.name for field in fields(SimulatedFinding))}
    values |= {name: folder / values[name] for name in PATHS}
    values["questions"] = tuple(Asked(**asked) for asked in values["questions"])
    return SimulatedFinding(**values)


PATHS = ("image", "image_without", "image_mirrored", "segmentation", "segmentation_mirrored")
"""Fields that name a file, in the table relative to its folder."""


def _paths(finding: SimulatedFinding) -> Sequence[Path]:
    return [getattr(finding, name) for name in PATHS]


def _read_mask(segmentation: Path, image: Path) -> NDArray[np.bool_]:
    try:
        uid = dcmread(image, specific_tags=["SOPInstanceUID"], stop_before_pixels=True).SOPInstanceUID
        seg = highdicom.seg.segread(segmentation)
        frames = seg.get_pixels_by_source_instance([uid], assert_missing_frames_are_empty=False)
    except (OSError, InvalidDicomError, AttributeError, KeyError, ValueError, RuntimeError) as error:
        raise DicomError(
            f"{segmentation.name} is no SEG of {image.name}; write the folder again with `medvqa simulate`"
        ) from error
    return frames[0, :, :, 0].astype(bool)
