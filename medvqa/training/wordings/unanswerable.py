"""Questions that no image answers: about the person, the past, the future, other organs, the device.

What they may be about is taken from DICOM's own context groups (PS3.16) and data dictionary (PS3.6), which
hold more anatomy, objects and attributes than anybody would write down.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydicom.datadict import DicomDictionary  # pyright: ignore[reportPrivateImportUsage]
from pydicom.sr.codedict import codes

if TYPE_CHECKING:
    from medvqa.simulation import Organ

_REGIONS = (4031, 4030, 7304)
"""Common Anatomic Region; CT, MR and PET Anatomy Imaged; Implant Target Anatomy."""
_OBJECTS = (6138,)
"""Chest Non-lesion Object Type: what somebody may ask for in any image."""
_NOT_ELSEWHERE: Mapping[Organ, re.Pattern[str]] = MappingProxyType(
    {
        "brain": re.compile(
            r"head|brain|skull|cereb|cranial|pituit|sella|face|facial|orbit|sinus|ear|eye|jaw|max|mandib|"
            r"mastoid|optic|auditory|nas|neck|temporal|phantom|whole|entire|palate|tongue|phary|gland|"
            r"posterior fossa",
            re.IGNORECASE,
        ),
        "chest": re.compile(
            r"chest|thora|lung|heart|card|rib|clavic|stern|trachea|bronch|mediast|esoph|aort|pulm|shoulder|scapul|"
            r"breast|spine|vertebr|phantom|whole|entire|coron|pleura|diaphragm|upper limb|humer|thym|neck",
            re.IGNORECASE,
        ),
        "breast": re.compile(
            r"breast|chest|thora|axill|mamm|phantom|whole|entire|rib|skin|lymph", re.IGNORECASE
        ),
    }
)
"""Regions that an image of this organ may well show."""
_ATTRIBUTES = re.compile(
    r"^(?:Patient.s|Responsible|Referring|Performing|Operators|Institution|Station|Manufacturer|Device|"
    r"Software|Slice|Repetition|Echo|Magnetic|Exposure|KVP|Study Date|Study Time|Acquisition (?:Date|Time)|"
    r"Accession|Contrast|Flip|Protocol|Series (?:Date|Time)|Issuer|Ethnic|Occupation|Smoking|Pregnancy|"
    r"Medical|Allergies|Admitting|Admission|Discharge|Requesting|Radiation|Spacing|Transducer|Mechanical|"
    r"Heart Rate|Gantry|Filter)"
)

WORDINGS: tuple[str, ...] = (
    "how old is the {patient}?",
    "what is the age of the {patient}?",
    "is the {patient} over {number} years old?",
    "is the {patient} a man or a woman?",
    "is this a male or a female {patient}?",
    "what is the sex of the {patient}?",
    "what is the {patient}'s {personal}?",
    "{what} {personal} does the {patient} have?",
    "what is the {patient}'s name?",
    "who is the {patient}?",
    "who is this?",
    "where does the {patient} live?",
    "does the {patient} {habit}?",
    "did the {patient} ever {habit}?",
    "how long has the {patient} had {symptom}?",
    "since when does the {patient} have {symptom}?",
    "does the {patient} have {symptom}?",
    "does the {patient} complain of {symptom}?",
    "has the {patient} had {symptom} before?",
    "what symptoms does the {patient} have?",
    "what are the complaints of the {patient}?",
    "what is the medical history of the {patient}?",
    "is there a family history of {disease}?",
    "does the {patient} have {disease}?",
    "{what} {drug} should be given?",
    "{what} {drug} should the {patient} receive?",
    "{what} {drug} has the {patient} had?",
    "how should this be treated?",
    "what is the best treatment?",
    "what is the recommended therapy?",
    "will the {patient} {future}?",
    "how long will the {patient} live?",
    "what is the prognosis?",
    "what is the survival rate?",
    "what is the risk of recurrence?",
    "when was {this} {image} taken?",
    "on what date was this done?",
    "in what year was {this} {image} acquired?",
    "who took {this} {image}?",
    "who ordered {this} {image}?",
    "in {what} hospital was {this} {image} taken?",
    "in {what} country was {this} {image} made?",
    "where was {this} {image} taken?",
    "what did the {test} show?",
    "is the {test} result normal?",
    "what is the {test} result?",
    "how has this changed since last year?",
    "has it grown since the last examination?",
    "was there a change since the prior study?",
    "is it better or worse than before?",
    "what is the gene mutation status?",
    "what is the {marker} status?",
    "what caused this?",
    "why did this happen?",
    "what is the {measure} in millimeters?",
    "how {large} is it in centimeters?",
    "what is the {measure}?",
    "what is the {attribute}?",
    "{what} {attribute} was used?",
    "do you know the {attribute}?",
    "{name} the {attribute}.",
    "is the {elsewhere} normal?",
    "is the {elsewhere} abnormal?",
    "is there a lesion in the {elsewhere}?",
    "is there a fracture of the {elsewhere}?",
    "is there a {nodule} in the {elsewhere}?",
    "what does the {elsewhere} look like?",
    "what is wrong with the {elsewhere}?",
    "{what} finding is {shown} in the {elsewhere}?",
    "describe the {elsewhere}.",
    "how large is the {elsewhere}?",
    "is the {elsewhere} enlarged?",
    "is there a {object} in place?",
    "how many {object}s are there?",
    "what color is the {thing}?",
    "what does the {thing} cost?",
    "what is the weather like?",
    "what time is it?",
    "what is the capital of {country}?",
    "how do I {chore}?",
    "tell me a joke.",
    "how many fingers does the {patient} have?",
    "is the {patient} happy?",
    "what did the {patient} eat today?",
    "is the {patient} pregnant?",
    "is the {patient} allergic to anything?",
    "what is the heart rate of the {patient}?",
    "does the {patient} need surgery?",
)
SLOTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "patient": ("patient", "patient", "person", "subject", "individual"),
        "number": ("18", "30", "40", "50", "60", "65", "70", "80"),
        "personal": (
            *("age", "sex", "gender", "weight", "height", "blood pressure", "blood type", "name"),
            *("occupation", "job", "address", "phone number", "date of birth", "ethnicity", "religion"),
            *("insurance", "temperature", "body mass index", "mother's name", "marital status"),
            *("income", "education", "hair color"),
        ),
        "habit": (
            *("smoke", "drink alcohol", "exercise", "have allergies", "have diabetes", "take drugs"),
            *("travel abroad", "sleep well", "work with asbestos", "eat meat", "take vitamins"),
            *("have children", "play sports"),
        ),
        "symptom": (
            *("headaches", "fever", "pain", "a cough", "nausea", "seizures", "dizziness", "vomiting"),
            *("fatigue", "weight loss", "shortness of breath", "chest pain", "night sweats"),
            *("double vision", "memory loss", "nipple discharge", "itching", "a sore throat"),
            *("palpitations", "numbness", "insomnia", "back pain"),
        ),
        "disease": (
            *("diabetes", "hypertension", "asthma", "HIV", "hepatitis", "depression", "epilepsy"),
            *("gout", "anemia", "thyroid disease", "high cholesterol", "kidney failure", "a stroke"),
            *("migraine", "obesity"),
        ),
        "drug": (
            *("drug", "dose", "antibiotic", "treatment", "therapy", "medication", "surgery"),
            *("operation", "vaccine", "chemotherapy", "radiotherapy", "painkiller", "diet", "steroid"),
        ),
        "future": (
            *("survive", "recover", "need surgery", "live longer than five years", "get worse"),
            *("be cured", "die", "return to work", "have a relapse", "walk again", "need radiotherapy"),
            *("respond to treatment",),
        ),
        "test": (
            *("blood test", "biopsy", "CT", "PET", "histology", "previous scan", "lab report"),
            *("urine test", "ECG", "genetic test", "tumor marker", "pathology report"),
            *("white cell count", "culture", "spirometry"),
        ),
        "marker": (
            "HER2",
            "IDH",
            "EGFR",
            "BRCA",
            "MGMT",
            "hormone receptor",
            "COVID",
            "vaccination",
            "immune",
        ),
        "measure": (
            *("size of the finding", "diameter", "slice thickness", "length", "tumor volume"),
            *("exact size", "depth", "distance to the skin", "area", "density", "pixel spacing"),
            *("Hounsfield value",),
        ),
        "large": ("large", "big", "wide", "long", "deep", "thick"),
        "thing": (
            "patient's shirt",
            "wall",
            "car",
            "hair of the patient",
            "machine",
            "doctor's coat",
            "table",
        ),
        "country": ("France", "Japan", "Brazil", "Kenya", "Canada", "India"),
        "chore": (
            "bake bread",
            "fix my car",
            "book a flight",
            "cook rice",
            "learn French",
            "reset my password",
        ),
    }
)
"""What may stand in a slot of these."""
OF_ANOTHER_ORGAN: Mapping[Organ, tuple[str, ...]] = MappingProxyType(
    {
        "brain": (
            *("is there {pneumonia}?", "is there a pleural effusion?"),
            *("is the breast lesion malignant?", "is there a breast {lesion}?", "are the lungs clear?"),
            *("is the breast mass benign or malignant?", "do the lungs show {pneumonia}?"),
            *("is there consolidation in the lung?", "is the heart enlarged?"),
        ),
        "chest": (
            *("is there a brain tumor?", "is there a glioma?"),
            *("is the breast mass benign or malignant?", "what type of brain tumor is shown?"),
            *("is there a pituitary tumor?", "is there a meningioma?"),
            *("is the breast ultrasound normal?", "is the brain normal?"),
            *("what kind of brain tumor is it?",),
        ),
        "breast": (
            *("is there {pneumonia}?", "is there a brain tumor?", "is there a pituitary tumor?"),
            *("are the lungs clear?", "what type of brain tumor is shown?", "is there a glioma?"),
            *("do the lungs show {pneumonia}?", "is the brain normal?", "is there a pneumothorax?"),
        ),
    }
)
"""Questions about findings that an image of this organ cannot show."""


@cache
def elsewhere(organ: Organ) -> tuple[str, ...]:
    """Anatomic regions that an image of `organ` does not show, in DICOM's words."""
    kept = {
        _plain(name) for cid in _REGIONS for name in _meanings(cid) if not _NOT_ELSEWHERE[organ].search(name)
    }
    return tuple(sorted(kept))


@cache
def objects() -> tuple[str, ...]:
    """Things that may be in a body, in DICOM's words."""
    return tuple(sorted({_plain(name) for cid in _OBJECTS for name in _meanings(cid)}))


@cache
def attributes() -> tuple[str, ...]:
    """What DICOM knows of a patient, a visit and a device that its pixels do not show."""
    known = DicomDictionary.values()
    names = {name for _, _, name, retired, _ in known if not retired and _ATTRIBUTES.match(name)}
    return tuple(sorted(_plain(name) for name in names if "Sequence" not in name and "UID" not in name))


def _meanings(cid: int) -> list[str]:
    group: Any = getattr(codes, f"cid{cid}")
    return [code.meaning for code in group.concepts.values()]


def _plain(name: str) -> str:
    """In small letters, but for abbreviations."""
    return " ".join(word if word.isupper() else word.lower() for word in name.split())
