"""Parts of one image that an answer or a task's result points at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from audit import Filter
from audit.actions import Action
from medvqa.dicom_out import coding
from medvqa.digests import digest_tokens
from medvqa.errors import TaskError
from medvqa.tasks.results import Boxes, Masks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from highdicom.sr import CodedConcept
    from numpy.typing import NDArray

    from audit import Event, Log
    from medvqa.types import Heatmap

HALF_MAXIMUM = 0.5
"""Pixels of a heatmap from here to its maximum, 1, are its region: as wide as peaks are measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Some pixels of one image, not none."""

    label: str
    """In the model's words or the asker's."""
    kind: CodedConcept
    """What was drawn: of this project's codes."""
    bits: NDArray[np.bool_]
    """Shape (rows, columns) of the image, true inside."""
    outlines: tuple[tuple[float, float, float, float], ...]
    """Boxes around its connected parts, the largest part first: top, left, bottom and right edge in pixels, 0
    being the outer edge of the first row or column."""
    score: float | None = None
    """In [0, 1], of the model; None where it gives none."""


def region_of_heatmap(heatmap: Heatmap) -> Region | None:
    """Where the map reaches half of its maximum; None where it is 0 everywhere."""
    bits = heatmap.values >= HALF_MAXIMUM
    if not bits.any():
        return None
    return Region(
        label=f"Heatmap: {heatmap.method.replace('_', ' ')}",
        kind=coding.REGION,
        bits=bits,
        outlines=_outline(bits),
    )


def read_results(log: Log, study: str, masks: Mapping[str, Masks]) -> list[tuple[Event, tuple[Region, ...]]]:
    """What tasks found in a study: the event of each result, with where it points, in their order.

    Args:
        log: The trail, which has the boxes.
        study: Study Instance UID.
        masks: By id of their result, as far as they are at hand: the trail has their digests alone.

    Raises:
        TaskError: If a mask is not the one that was recorded.
        AuditError: If the trail cannot be read.
    """
    found: list[tuple[Event, tuple[Region, ...]]] = []
    for event in log.read(Filter(study=study, action=Action.RESULT, outcome="success")):
        content: Any = event.entity["content"]
        if content["kind"] == "boxes":
            regions = _of_boxes(Boxes.model_validate(content))
        elif content["kind"] == "masks" and event.subject in masks:
            regions = _of_masks(masks[event.subject], content)
        else:
            continue
        if regions:
            found.append((event, regions))
    return found


def _of_boxes(content: Boxes) -> tuple[Region, ...]:
    regions: list[Region] = []
    for box in content.boxes:
        bits = np.zeros((content.rows, content.columns), dtype=np.bool_)
        bits[int(box.top) : math.ceil(box.bottom), int(box.left) : math.ceil(box.right)] = True
        outline = box.top, box.left, box.bottom, box.right
        label = box.label or "not named"
        regions.append(Region(label=label, kind=coding.BOX, bits=bits, outlines=(outline,), score=box.score))
    return tuple(regions)


def _of_masks(content: Masks, recorded: Any) -> tuple[Region, ...]:
    if [digest_tokens(mask.runs) for mask in content.masks] != [
        one["runs_sha256"] for one in recorded["masks"]
    ]:
        raise TaskError("these outlines are not those that were recorded; give the file that the task wrote")
    drawn = [(mask.label or "not named", mask.bits()) for mask in content.masks]
    return tuple(
        Region(label=label, kind=coding.MASK, bits=bits, outlines=_outline(bits))
        for label, bits in drawn
        if bits.any()
    )


def _outline(bits: NDArray[np.bool_]) -> tuple[tuple[float, float, float, float], ...]:
    labelled: Any = ndimage.label(bits)
    parts, count = labelled
    sizes = ndimage.sum_labels(bits, parts, range(1, count + 1))
    places = ndimage.find_objects(parts)
    ordered = [places[at] for at in np.argsort(-np.asarray(sizes), kind="stable")]
    return tuple(
        (float(rows.start), float(columns.start), float(rows.stop), float(columns.stop))
        for rows, columns in ordered
    )
