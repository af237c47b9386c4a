"""The wordings of every kind of question, as data.

A wording holds `{slots}` that are filled with random choices, so that one kind has hundreds of forms and the
model cannot tie an answer to one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medvqa.simulation import Organ

SLOTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
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
"""What may stand in a slot of any wording."""

WORDINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
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
"""By kind of question, or by a finer name where a kind is asked in several ways."""
SLOTS_UNANSWERABLE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "personal": ("age", "sex", "weight", "height", "blood pressure", "blood type", "name", "occupation"),
        "habit": ("smoke", "drink alcohol", "exercise", "have allergies", "have diabetes", "take drugs"),
        "symptom": (
            "headaches",
            "fever",
            "pain",
            "a cough",
            "nausea",
            "seizures",
            "a family history of cancer",
        ),
        "drug": ("drug", "dose", "antibiotic", "treatment", "therapy", "medication", "surgery"),
        "future": ("survive", "recover", "need surgery", "live longer than five years", "get worse"),
        "test": ("blood test", "biopsy", "CT", "PET", "histology", "previous scan", "lab report"),
        "measure": ("size of the finding", "diameter", "slice thickness", "length"),
    }
)
"""What may stand in a slot of a question that no image answers."""
ELSEWHERE: Mapping[Organ, tuple[str, ...]] = MappingProxyType(
    {
        "brain": ("liver", "kidney", "heart", "knee", "lung", "spine", "breast"),
        "chest": ("brain", "knee", "bladder", "prostate", "pituitary gland", "eye"),
        "breast": ("brain", "knee", "liver", "lung", "kidney", "pituitary gland", "heart"),
    }
)
"""Organs that an image of this organ does not show."""
ELSEWHERE_WORDINGS = (
    "is the {elsewhere} normal?",
    "is there a lesion in the {elsewhere}?",
    "is there a fracture of the {elsewhere}?",
    "what does the {elsewhere} look like?",
    "{what} finding is {shown} in the {elsewhere}?",
)
"""Questions about such organs."""
OF_ANOTHER_ORGAN: Mapping[Organ, tuple[str, ...]] = MappingProxyType(
    {
        "brain": ("is there pneumonia?", "is there a pleural effusion?", "is the breast lesion malignant?"),
        "chest": ("is there a brain tumor?", "is there a glioma?", "is the breast mass benign or malignant?"),
        "breast": ("is there pneumonia?", "is there a brain tumor?", "is there a pituitary tumor?"),
    }
)
"""Questions about findings that an image of this organ cannot show."""

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
