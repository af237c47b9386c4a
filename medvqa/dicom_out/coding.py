"""Codes of what the objects say: those of the Standard where it has them, else this project's own.

Private codes are of the scheme 99MEDVQA, which each object that uses it names (PS3.3 C.12.1.1.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept

if TYPE_CHECKING:
    from medvqa.types import HeatmapMethod, Verdict

SCHEME = "99MEDVQA"


def own_code(value: str, meaning: str) -> CodedConcept:
    """A code of this project.

    Args:
        value: At most 16 characters (SH).
        meaning: At most 64 characters (LO).
    """
    return CodedConcept(value=value, scheme_designator=SCHEME, meaning=meaning)


def coding_schemes() -> list[CodingSchemeIdentificationItem]:
    """What names the private scheme in an object."""
    return [
        CodingSchemeIdentificationItem(
            designator=SCHEME, name="Codes of medvqa", responsible_organization="medvqa"
        )
    ]


QUESTION = own_code("QUESTION", "Question that was asked")
ANSWER = own_code("ANSWER", "Answer of the model")
AMENDED_ANSWER = own_code("AMENDED", "Answer as a person amended it")
NOT_RELIED_ON = own_code("NOT-RELIED-ON", "Words of the model that are not relied on")
REASON = own_code("REASON", "Why they are not relied on")
LIMITATION = own_code("LIMITATION", "Limitation of use")
CHECKS = own_code("CHECKS", "What the checks say of the answer")
PERSON = own_code("PERSON", "What a person made of the answer")
SOURCE = own_code("SOURCE", "What answered, and where it is recorded")
CALIBRATED = own_code("CONF-CALIBRATED", "Calibrated chance that the answer is right")
UNCALIBRATED = own_code("CONF-UNCALIBR", "Confidence that is no chance of being right")
VERDICT = own_code("VERDICT", "Verdict of the checks")
STATE = own_code("STATE", "How far the answer was reviewed")
KIND = own_code("KIND", "What was drawn")
REGION = own_code("REGION", "Pixels where the heatmap reaches half its maximum")
BOX = own_code("BOX", "Box that a model drew")
MASK = own_code("MASK", "Outline that a model drew")
LABEL = own_code("LABEL", "What is there, in the words of model or asker")
SCORE = own_code("SCORE", "Score that the model gave, no chance of being right")

VERDICTS: Mapping[Verdict, CodedConcept] = MappingProxyType(
    {
        "grounded": own_code("GROUNDED", "Grounded in the image"),
        "fragile": own_code("FRAGILE", "Fragile: another wording changes it"),
        "image_blind": own_code("IMAGE-BLIND", "Image blind: any image would give it"),
        "unsure": own_code("UNSURE", "Unsure"),
    }
)

STATES: Mapping[str, CodedConcept] = MappingProxyType(
    {
        "unread": own_code("UNREAD", "Nobody reviewed it"),
        "in_review": own_code("IN-REVIEW", "In review"),
        "accepted": own_code("ACCEPTED", "A person agreed with it"),
        "corrected": own_code("CORRECTED", "A person amended it"),
        "rejected": own_code("REJECTED", "A person rejected it"),
        "signed": own_code("SIGNED", "A person signed it"),
        "addendum": own_code("ADDENDUM", "Signed, and added to since"),
    }
)
"""Of `medvqa.reading.stories.Story.state`."""

METHODS: Mapping[HeatmapMethod, CodedConcept] = MappingProxyType(
    {
        "attention": own_code("ATTENTION", "Attention to the image"),
        "rollout": own_code("ROLLOUT", "Attention rollout"),
        "relevancy": own_code("RELEVANCY", "Relevancy of attention"),
        "integrated_gradients": own_code("INT-GRADIENTS", "Integrated Gradients attribution"),
        "token_integrated_gradients": own_code("TOKEN-INT-GRAD", "Integrated Gradients of image tokens"),
        "occlusion": own_code("OCCLUSION", "Occlusion sensitivity"),
        "grad_cam": own_code("GRAD-CAM", "Grad-CAM"),
    }
)
"""The quantity that a map holds, one a method."""
