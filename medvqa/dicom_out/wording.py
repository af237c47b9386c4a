"""What results say in words of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medvqa.types import NOT_FOR_DIAGNOSIS

if TYPE_CHECKING:
    from medvqa.dicom_out.provenance import Origin
    from medvqa.types import Heatmap


def caption_heatmap(heatmap: Heatmap) -> list[str]:
    """Sentences that stand wherever a map is seen: what it is for, what it is, what it is worth."""
    grade = heatmap.grade
    return [
        NOT_FOR_DIAGNOSIS,
        f"Heatmap: {heatmap.method.replace('_', ' ')}.",
        "It was not graded." if grade is None else f"Graded {grade.level}: {grade.reason}",
    ]


def describe_heatmap(heatmap: Heatmap, question: str, origin: Origin) -> list[str]:
    """The same with the scalar that it explains, the question and the row of the trail."""
    rows, columns = heatmap.grid
    return [
        *caption_heatmap(heatmap),
        f"It explains {heatmap.part or heatmap.explained}, and resolves {rows} x {columns} cells.",
        f"Answer {origin.subject}, row {origin.events[0].sequence} of the audit trail.",
        f"Question: {question}",
    ]
