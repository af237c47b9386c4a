"""What the default model is asked in training: every kind of question, with the answer its picture allows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

from medvqa.training.wordings import (
    ELSEWHERE,
    ELSEWHERE_WORDINGS,
    HELD_OUT,
    OF_ANOTHER_ORGAN,
    SLOTS,
    SLOTS_UNANSWERABLE,
    WORDINGS,
)

if TYPE_CHECKING:
    import numpy as np

    from medvqa.simulation import Nodule, Organ

Kind: TypeAlias = Literal[
    "modality",
    "organ",
    "abnormality",
    "finding_present",
    "brain_finding",
    "chest_finding",
    "breast_finding",
    "nodule_present",
    "nodule_side",
    "nodule_quadrant",
    "unanswerable",
]

CANNOT_TELL = "cannot be determined from this image"
NO_NODULE = "there is no nodule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is known about one picture."""

    organ: Organ
    finding: str | None
    """As in the answers below; None for a phantom, of which no disease is asked."""
    nodule: Nodule | None
    shape: tuple[int, int]
    """Rows and columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question with the answer that its picture allows."""

    kind: Kind
    question: str
    answer: str


MODALITY: Mapping[Organ, str] = MappingProxyType({"brain": "MRI", "chest": "X-ray", "breast": "ultrasound"})
NORMAL = ("no tumor", "no finding", "normal")
_ABNORMAL = ("glioma", "meningioma", "pituitary tumor", "pneumonia", "benign", "malignant", "abnormal")

_FINDING_KINDS: Mapping[Organ, Kind] = MappingProxyType(
    {"brain": "brain_finding", "chest": "chest_finding", "breast": "breast_finding"}
)


def ask_everything(
    content: Content, rng: np.random.Generator, *, held_out: bool = False
) -> tuple[Asked, ...]:
    """One question of every kind that `content` has an answer to, each in a random wording.

    Args:
        content: What is known about the picture.
        rng: Draws the wordings.
        held_out: Draw from wordings kept out of training where a kind has such, otherwise only from the rest.
    """
    answers: _Answers = [
        ("modality", "modality", MODALITY[content.organ]),
        ("organ", "organ", content.organ),
    ]
    answers += _about_nodule(content, rng)
    if content.finding is not None and content.nodule is None:
        answers += _about_finding(content.organ, content.finding, rng)
    asked = [
        Asked(kind=kind, question=_worded(source, content.organ, rng, held_out=held_out), answer=answer)
        for kind, source, answer in answers
    ]
    return (*asked, _unanswerable(content.organ, rng, held_out=held_out))


def every_text(rng: np.random.Generator, *, count: int) -> list[str]:
    """`count` random questions and all answers: what the tokenizer is made from."""
    organs: tuple[Organ, ...] = ("brain", "chest", "breast")
    texts = [CANNOT_TELL, NO_NODULE, *MODALITY.values(), *organs, *NORMAL, *_ABNORMAL]
    texts += [f"{half} {side} quadrant" for half in ("upper", "lower") for side in ("left", "right")]
    texts += [f"{side} side of the image" for side in ("left", "right")]
    sources = [name for name in WORDINGS if name != "unanswerable"]
    for index in range(count):
        organ = organs[index % 3]
        texts.append(_worded(sources[index % len(sources)], organ, rng, held_out=False))
        texts.append(_unanswerable(organ, rng, held_out=False).question)
    return texts


_Answers: TypeAlias = list[tuple[Kind, str, str]]
"""Kind of question, the name of its wordings, and the answer."""


def _about_nodule(content: Content, rng: np.random.Generator) -> _Answers:
    if content.nodule is None:
        places: tuple[Kind, ...] = ("nodule_side", "nodule_quadrant")
        absent: _Answers = [(kind, kind, NO_NODULE) for kind in places if rng.random() < 0.15]
        return [("nodule_present", "nodule_present", "no"), *absent]
    side, quadrant = content.nodule.side(content.shape), content.nodule.quadrant(content.shape)
    return [
        ("nodule_present", "nodule_present", "yes"),
        ("nodule_side", "nodule_side", f"{side} side of the image"),
        ("nodule_quadrant", "nodule_quadrant", f"{quadrant} quadrant"),
    ]


def _about_finding(organ: Organ, finding: str, rng: np.random.Generator) -> _Answers:
    normal = finding in NORMAL
    abnormality: _Answers = [("abnormality", "abnormality", "normal" if normal else "abnormal")]
    if rng.random() < 0.3:
        abnormality = [("abnormality", "is_normal", "yes" if normal else "no")]
    present = f"{organ}_present" if rng.random() < 0.6 else "finding_present"
    kind = _FINDING_KINDS[organ]
    return [
        *abnormality,
        ("finding_present", present, "no" if normal else "yes"),
        (kind, kind if rng.random() < 0.4 else "finding", finding),
    ]


def _unanswerable(organ: Organ, rng: np.random.Generator, *, held_out: bool) -> Asked:
    """A question about the person, the past, the future or an organ that is not in the picture."""
    draw = 1.0 if held_out else rng.random()
    if draw < 0.1:
        question = _fill(str(rng.choice(OF_ANOTHER_ORGAN[organ])), organ, rng)
    elif draw < 0.35:
        question = _fill(str(rng.choice(ELSEWHERE_WORDINGS)), organ, rng)
    else:
        question = _worded("unanswerable", organ, rng, held_out=held_out)
    return Asked(kind="unanswerable", question=question, answer=CANNOT_TELL)


def _worded(source: str, organ: Organ, rng: np.random.Generator, *, held_out: bool) -> str:
    wordings = WORDINGS[source]
    kept = [wording for wording in wordings if (wording in HELD_OUT) == held_out]
    return _fill(str(rng.choice(kept or wordings)), organ, rng)


def _fill(wording: str, organ: Organ, rng: np.random.Generator) -> str:
    """Fill every slot, then vary case and punctuation as people do."""
    local = {"organ": (organ,), "named": SLOTS[organ], "elsewhere": ELSEWHERE[organ]}
    text = "{please}" + wording
    while match := re.search(r"\{(\w+)\}", text):
        choices = local.get(match[1]) or SLOTS.get(match[1]) or SLOTS_UNANSWERABLE[match[1]]
        text = text[: match.start()] + str(rng.choice(choices)) + text[match.end() :]
    if rng.random() < 0.7:
        text = text[0].upper() + text[1:]
    return text.rstrip("?.") if rng.random() < 0.1 else text
