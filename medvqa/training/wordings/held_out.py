"""Whole questions that training never uses: on them it is measured how well the model takes other words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

HELD_OUT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "modality": (
            "What kind of image is being shown to me?",
            "Which medical imaging procedure generated this picture?",
            "Tell me which modality we are looking at.",
            "Was an MRI, a radiograph or a sonogram performed?",
        ),
        "organ": (
            "What part of the body are we looking at?",
            "Which anatomical structure has been imaged here?",
            "Can you say which body region this comes from?",
            "The scan covers which organ?",
        ),
        "abnormality": (
            "Does this look normal or abnormal to you?",
            "Overall impression: normal or abnormal?",
            "Would a radiologist report this as normal or abnormal?",
        ),
        "is_normal": (
            "Can I tell the patient that this is normal?",
            "Do things look normal overall?",
            "Is it a normal study?",
        ),
        "finding_present": (
            "Is any abnormality to be seen here?",
            "Does anything on this image look abnormal?",
            "Are you able to detect an abnormality?",
        ),
        "brain_present": (
            "Can you see a tumor?",
            "Does this MRI scan reveal the presence of a tumor?",
            "Is a brain tumor visible anywhere?",
        ),
        "chest_present": (
            "Are there radiographic features of pneumonia?",
            "Could this patient be suffering from pneumonia?",
            "Is pneumonia seen on this film?",
        ),
        "breast_present": (
            "Can a mass be seen in the breast?",
            "Does the ultrasound reveal a lesion?",
            "Would you say there is a breast mass?",
        ),
        "finding": (
            "What is the diagnosis that this {named} supports?",
            "What pathology can be recognised in the {named}?",
            "Which diagnosis would you make?",
        ),
        "brain_finding": (
            "Which tumor type does the MRI suggest?",
            "What category of brain tumor is present, if there is one?",
            "Is it glioma, meningioma, pituitary tumor, or is there no tumor at all?",
        ),
        "chest_finding": (
            "Should this chest X-ray be labelled pneumonia or no finding?",
            "Which label is right for the lungs: pneumonia or no finding?",
        ),
        "breast_finding": (
            "Would you label this ultrasound as benign, malignant or normal?",
            "Does the breast look benign, malignant or normal?",
        ),
        "nodule_present": (
            "Can you see a {nodule}?",
            "Has anything like a {nodule} been detected?",
            "Is a {nodule} visible anywhere in the picture?",
        ),
        "nodule_side": (
            "Which half of the image contains the {nodule}?",
            "Does the {nodule} lie on the left side or on the right side?",
            "Tell me whether the {nodule} is left or right.",
        ),
        "nodule_quadrant": (
            "Where do you see the {nodule}?",
            "Please point out the quadrant with the {nodule}.",
            "In which of the four quadrants does the {nodule} lie?",
        ),
        "unanswerable": (
            "Is the patient older than fifty?",
            "Which medication is the patient on?",
            "Who is the referring physician?",
            "How much does the patient weigh?",
            "Is the liver enlarged?",
            "What was the patient's last haemoglobin?",
            "Has the tumor responded to chemotherapy?",
            "Is the patient a smoker?",
            "When should the next examination be?",
            "Is there a fracture of the femur?",
            "What field strength did the scanner have?",
            "What is the patient's prognosis?",
        ),
    }
)
"""By the names of training's wordings; `{named}` is the kind of image, `{nodule}` a simulated finding."""
