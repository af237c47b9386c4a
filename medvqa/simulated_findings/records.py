"""A simulated finding as cases of the record format: what to learn from, or to be measured by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medvqa.cases import Case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from medvqa.simulated_findings.reading import Asked, SimulatedFinding

CASES = "cases.jsonl"
"""Name of the file of cases, beside the table."""
_ASKED_FOR = ("present", "quadrant", "side")
"""What the questions of a finding are about, in their order."""


def list_cases(finding: SimulatedFinding, mask: NDArray[np.bool_], *, group: str) -> tuple[Case, ...]:
    """Every question about the image with the finding, the one without it, and the mirrored one.

    Args:
        finding: Whose files are there.
        mask: Of `finding.image`, shape (rows, columns), not empty.
        group: The same for all findings in one image.

    Returns:
        Cases of the kinds `nodule_present`, `nodule_quadrant`, `nodule_side` and so on; `box` and `mask` say
        where the finding is, where there is one.
    """
    return tuple(
        case
        for about, asked in zip(_ASKED_FOR, finding.questions, strict=True)
        for case in _about(finding, asked, mask, kind=f"{finding.kind}_{about}", group=group)
    )


def _about(
    finding: SimulatedFinding, asked: Asked, mask: NDArray[np.bool_], *, kind: str, group: str
) -> Iterator[Case]:
    for image, answer, segmentation, shown in (
        (finding.image, asked.answer, finding.segmentation, mask),
        (finding.image_without, asked.answer_without, None, None),
        (finding.image_mirrored, asked.answer_mirrored, finding.segmentation_mirrored, mask[:, ::-1]),
    ):
        yield Case(
            image=image,
            question=asked.question,
            answer=answer,
            # Yes or no, and one of two sides; a place can be said in any words.
            answer_type="open" if kind.endswith("_quadrant") else "closed",
            kind=kind,
            group=group,
            box=None if shown is None else _bounds(shown),
            mask=segmentation,
        )


def _bounds(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom edge of what is in the mask, in pixels."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
