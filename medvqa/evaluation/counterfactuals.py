"""Whether answers follow the image: with and without a finding, and mirrored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medvqa.evaluation.localisation import says
from medvqa.study import read_study

if TYPE_CHECKING:
    from medvqa.models.huggingface import HuggingFaceModel
    from medvqa.simulated_findings import SimulatedFinding


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactual:
    """One question put to the image with a finding, and to one that asks for another answer."""

    finding: int
    """Number in its folder."""
    question: str
    flipped: bool
    """Whether the answers differ."""
    both_right: bool
    """Whether each is the right one."""


def compare_without(model: HuggingFaceModel, finding: SimulatedFinding) -> list[Counterfactual]:
    """Ask about the image with the finding and the same without it: every answer must change.

    Raises:
        DicomError: If an image cannot be read.
    """
    images = [read_study(path).images[0] for path in (finding.image, finding.image_without)]
    compared: list[Counterfactual] = []
    for asked in finding.questions:
        with_it, without = (model.generate(image, asked.question).text for image in images)
        one = Counterfactual(
            finding=finding.number,
            question=asked.question,
            flipped=not says(with_it, without),
            both_right=says(with_it, asked.answer) and says(without, asked.answer_without),
        )
        compared.append(one)
    return compared


def compare_mirrored(model: HuggingFaceModel, finding: SimulatedFinding) -> list[Counterfactual]:
    """Ask about the image and its mirror image what names a side: left and right must be exchanged.

    Raises:
        DicomError: If an image cannot be read.
    """
    images = [read_study(path).images[0] for path in (finding.image, finding.image_mirrored)]
    compared: list[Counterfactual] = []
    for asked in finding.questions:
        if says(asked.answer, asked.answer_mirrored):
            continue
        plain, mirrored = (model.generate(image, asked.question).text for image in images)
        one = Counterfactual(
            finding=finding.number,
            question=asked.question,
            flipped=plain != mirrored and says(_exchange_sides(plain), mirrored),
            both_right=says(plain, asked.answer) and says(mirrored, asked.answer_mirrored),
        )
        compared.append(one)
    return compared


def _exchange_sides(text: str) -> str:
    sides = {"left": "right", "right": "left"}
    return " ".join(sides.get(word, word) for word in text.split(" "))
