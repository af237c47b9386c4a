"""What the default model is asked in training: every kind of question, in many wordings, with its answer.

A wording is drawn by filling `{slots}` with random choices, so that one kind has hundreds of forms and the
model cannot tie an answer to one of them. Wordings that stand in `HELD_OUT` are never trained on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

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

_SLOTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "what": ("what", "which"),
        "image": ("image", "picture", "scan", "study", "image here", "medical image"),
        "this": ("this", "the"),
        "shown": ("shown", "seen", "visible", "present", "depicted", "demonstrated"),
        "in": ("in", "on"),
        "finding": ("finding", "abnormality", "diagnosis", "disease", "pathology", "condition", "lesion"),
        "nodule": ("nodule", "bright nodule", "round nodule", "simulated nodule", "bright spot"),
        "please": ("", "", "", "please tell me: ", "question: ", "in this study, "),
        "brain": ("brain MRI", "brain scan", "MRI", "head MRI", "brain image", "MR image", "{image}"),
        "chest": ("chest X-ray", "radiograph", "chest film", "chest radiograph", "X-ray", "{image}"),
        "breast": ("breast ultrasound", "ultrasound", "sonogram", "breast scan", "{image}"),
        "tumor": ("tumor", "tumour", "brain tumor", "mass", "neoplasm"),
        "lesion": ("lesion", "mass", "tumor", "breast lesion", "breast mass"),
    }
)

_WORDINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "modality": (
            "{what} modality is {this} {image}?",
            "{what} imaging modality was used?",
            "{what} imaging modality is {shown}?",
            "{what} type of {image} is this?",
            "{what} kind of {image} is {shown}?",
            "how was {this} {image} acquired?",
            "{what} imaging technique was used for {this} {image}?",
            "is this an MRI, an X-ray or an ultrasound?",
            "name the modality.",
        ),
        "organ": (
            "{what} organ is {shown} {in} {this} {image}?",
            "{what} organ is {shown}?",
            "{what} organ is this?",
            "{what} body part is {shown} {in} {this} {image}?",
            "{what} part of the body is {shown}?",
            "{what} anatomical region is imaged?",
            "{what} region is {shown} {in} {this} {image}?",
            "what does {this} {image} show, the brain, the chest or the breast?",
            "name the organ.",
        ),
        "abnormality": (
            "is {this} {image} normal or abnormal?",
            "is this normal or abnormal?",
            "does {this} {image} look normal or abnormal?",
            "normal or abnormal?",
            "would you call {this} {image} normal or abnormal?",
            "is the {organ} normal or abnormal {in} {this} {image}?",
        ),
        "is_normal": (
            "is {this} {image} normal?",
            "is this normal?",
            "is the {organ} normal?",
            "is everything normal {in} {this} {image}?",
        ),
        "finding_present": (
            "is there an abnormality {in} {this} {image}?",
            "is there any {finding} {in} {this} {image}?",
            "does {this} {image} show an abnormality?",
            "is anything abnormal {shown}?",
            "is a {finding} {shown}?",
        ),
        "brain_present": (
            "is there a {tumor} {in} {this} {brain}?",
            "is there a {tumor}?",
            "is a {tumor} {shown} {in} {this} {brain}?",
            "does {this} {brain} show a {tumor}?",
            "can you see a {tumor}?",
        ),
        "chest_present": (
            "is there pneumonia {in} {this} {chest}?",
            "is there pneumonia?",
            "does {this} {chest} show pneumonia?",
            "is pneumonia {shown}?",
            "are there signs of pneumonia?",
            "does the patient have pneumonia?",
        ),
        "breast_present": (
            "is there a {lesion} {in} {this} {breast}?",
            "is there a {lesion}?",
            "does {this} {breast} show a {lesion}?",
            "is a {lesion} {shown}?",
            "can you see a {lesion}?",
        ),
        "finding": (
            "{what} {finding} is {shown} {in} {this} {image}?",
            "{what} {finding} is {shown} {in} {this} {named}?",
            "{what} {finding} is {shown}?",
            "{what} is the {finding}?",
            "{what} is the {finding} {in} {this} {named}?",
            "{what} {finding} does {this} {named} show?",
            "what is {shown} {in} {this} {named}?",
            "what does {this} {named} show?",
            "name the {finding}.",
        ),
        "brain_finding": (
            "{what} type of {tumor} is {shown} {in} {this} {brain}?",
            "{what} kind of {tumor} is {shown}?",
            "{what} {tumor} is {shown} {in} {this} {brain}?",
            "{what} type of {tumor} is this, if any?",
            "glioma, meningioma, pituitary tumor or no tumor?",
        ),
        "chest_finding": (
            "pneumonia or no finding?",
            "{what} lung {finding} is {shown} {in} {this} {chest}?",
            "does {this} {chest} show pneumonia or no finding?",
        ),
        "breast_finding": (
            "is the {lesion} benign or malignant?",
            "benign, malignant or normal?",
            "is {this} {breast} benign, malignant or normal?",
            "{what} type of {lesion} is {shown} {in} {this} {breast}?",
            "how would you classify {this} {breast}?",
        ),
        "nodule_present": (
            "is there a {nodule} {in} {this} {image}?",
            "is there a {nodule}?",
            "is a {nodule} {shown}?",
            "can you see a {nodule}?",
            "does {this} {image} show a {nodule}?",
        ),
        "nodule_side": (
            "on {what} side of {this} {image} is the {nodule}?",
            "{what} side is the {nodule} on?",
            "on {what} side is the {nodule}?",
            "{what} half of {this} {image} holds the {nodule}?",
            "is the {nodule} {in} the left or right half of {this} {image}?",
        ),
        "nodule_quadrant": (
            "in {what} quadrant is the {nodule}?",
            "where is the {nodule}?",
            "where is the {nodule} {in} {this} {image}?",
            "{what} quadrant holds the {nodule}?",
            "locate the {nodule}.",
            "where do you see the {nodule}?",
        ),
        "unanswerable": (
            "how old is the patient?",
            "what is the patient's {personal}?",
            "{what} {personal} does the patient have?",
            "is the patient a man or a woman?",
            "what is the patient's name?",
            "does the patient {habit}?",
            "how long has the patient had {symptom}?",
            "does the patient have {symptom}?",
            "{what} {drug} should be given?",
            "{what} {drug} does the patient take?",
            "will the patient {future}?",
            "when was {this} {image} taken?",
            "who is the referring physician?",
            "in {what} hospital was {this} {image} taken?",
            "what did the {test} show?",
            "is the {test} result normal?",
            "how has this changed since last year?",
            "was there a change since the prior study?",
            "what is the gene mutation status?",
            "what caused this?",
            "what is the {measure} in millimeters?",
        ),
    }
)
_SLOTS_UNANSWERABLE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "personal": ("age", "sex", "weight", "height", "blood pressure", "blood type", "name", "occupation"),
        "habit": ("smoke", "drink alcohol", "exercise", "have allergies", "have diabetes", "take drugs"),
        "symptom": ("headaches", "fever", "pain", "a cough", "nausea", "seizures", "a family history of cancer"),
        "drug": ("drug", "dose", "antibiotic", "treatment", "therapy", "medication", "surgery"),
        "future": ("survive", "recover", "need surgery", "live longer than five years", "get worse"),
        "test": ("blood test", "biopsy", "CT", "PET", "histology", "previous scan", "lab report"),
        "measure": ("size of the finding", "diameter", "slice thickness", "length"),
    }
)
_ELSEWHERE: Mapping[Organ, tuple[str, ...]] = MappingProxyType(
    {
        "brain": ("liver", "kidney", "heart", "knee", "lung", "spine", "breast"),
        "chest": ("brain", "knee", "bladder", "prostate", "pituitary gland", "eye"),
        "breast": ("brain", "knee", "liver", "lung", "kidney", "pituitary gland", "heart"),
    }
)
_ELSEWHERE_WORDINGS = (
    "is the {elsewhere} normal?",
    "is there a lesion in the {elsewhere}?",
    "is there a fracture of the {elsewhere}?",
    "what does the {elsewhere} look like?",
    "{what} finding is {shown} in the {elsewhere}?",
)
_OF_ANOTHER_ORGAN: Mapping[Organ, tuple[str, ...]] = MappingProxyType(
    {
        "brain": ("is there pneumonia?", "is there a pleural effusion?", "is the breast lesion malignant?"),
        "chest": ("is there a brain tumor?", "is there a glioma?", "is the breast mass benign or malignant?"),
        "breast": ("is there pneumonia?", "is there a brain tumor?", "is there a pituitary tumor?"),
    }
)

HELD_OUT = frozenset(
    {
        "{what} kind of {image} is {shown}?",
        "{what} part of the body is {shown}?",
        "does {this} {image} look normal or abnormal?",
        "does {this} {image} show an abnormality?",
        "can you see a {tumor}?",
        "are there signs of pneumonia?",
        "can you see a {lesion}?",
        "what is {shown} {in} {this} {named}?",
        "can you see a {nodule}?",
        "{what} half of {this} {image} holds the {nodule}?",
        "where do you see the {nodule}?",
        "who is the referring physician?",
        "{what} {drug} does the patient take?",
    }
)
"""Wordings kept for evaluation: the model has seen none of them."""


def ask_everything(content: Content, rng: np.random.Generator, *, held_out: bool = False) -> tuple[Asked, ...]:
    """One question of every kind that `content` has an answer to, each in a random wording.

    Args:
        content: What is known about the picture.
        rng: Draws the wordings.
        held_out: Draw from wordings kept out of training where a kind has such, otherwise only from the rest.
    """
    answers = [("modality", "modality", MODALITY[content.organ]), ("organ", "organ", content.organ)]
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
    sources = [name for name in _WORDINGS if name != "unanswerable"]
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
        question = _fill(str(rng.choice(_OF_ANOTHER_ORGAN[organ])), organ, rng)
    elif draw < 0.35:
        question = _fill(str(rng.choice(_ELSEWHERE_WORDINGS)), organ, rng)
    else:
        question = _worded("unanswerable", organ, rng, held_out=held_out)
    return Asked(kind="unanswerable", question=question, answer=CANNOT_TELL)


def _worded(source: str, organ: Organ, rng: np.random.Generator, *, held_out: bool) -> str:
    wordings = _WORDINGS[source]
    kept = [wording for wording in wordings if (wording in HELD_OUT) == held_out]
    return _fill(str(rng.choice(kept or wordings)), organ, rng)


def _fill(wording: str, organ: Organ, rng: np.random.Generator) -> str:
    """Fill every slot, then vary case and punctuation as people do."""
    local = {"organ": (organ,), "named": _SLOTS[organ], "elsewhere": _ELSEWHERE[organ]}
    text = "{please}" + wording
    while match := re.search(r"\{(\w+)\}", text):
        choices = local.get(match[1]) or _SLOTS.get(match[1]) or _SLOTS_UNANSWERABLE[match[1]]
        text = text[: match.start()] + str(rng.choice(choices)) + text[match.end() :]
    if rng.random() < 0.7:
        text = text[0].upper() + text[1:]
    return text.rstrip("?.") if rng.random() < 0.1 else text
