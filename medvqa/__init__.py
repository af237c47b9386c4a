"""Ask questions about medical images, and check the answers.

    import medvqa

    assistant = medvqa.Assistant()
    answer = assistant.ask(assistant.open_study("scan.dcm"), "Is there a lesion?", heatmap="attention")
    print(answer.text, answer.checks.verdict)

Research software: not a medical device, not for diagnosis.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from medvqa.errors import (
    AccessError,
    CancelledError,
    CaseIndexError,
    DicomError,
    GateError,
    LimitError,
    MedvqaError,
    ModelError,
    PixelError,
    QuestionError,
    RecordError,
    ReviewError,
    SettingsError,
    StoppedError,
    TrainingError,
)
from medvqa.types import (
    Answer,
    Checks,
    Heatmap,
    HeatmapGrade,
    Image,
    ImageRef,
    ModelIdentity,
    Notice,
    Study,
    Token,
)

if TYPE_CHECKING:
    from medvqa.assistant import Assistant
    from medvqa.explaining import Explanation, explain
    from medvqa.models.loading import load_model
    from medvqa.study import Limits, read_study

# Nouns and errors cost nothing; these bring PyTorch, MONAI and SQLAlchemy, and are loaded on use.
_HOMES = {
    "Assistant": "medvqa.assistant",
    "Explanation": "medvqa.explaining",
    "Limits": "medvqa.study",
    "explain": "medvqa.explaining",
    "load_model": "medvqa.models.loading",
    "read_study": "medvqa.study",
}

__all__ = [
    "AccessError",
    "Answer",
    "Assistant",
    "CancelledError",
    "CaseIndexError",
    "Checks",
    "DicomError",
    "Explanation",
    "GateError",
    "Heatmap",
    "HeatmapGrade",
    "Image",
    "ImageRef",
    "LimitError",
    "Limits",
    "MedvqaError",
    "ModelError",
    "ModelIdentity",
    "Notice",
    "PixelError",
    "QuestionError",
    "RecordError",
    "ReviewError",
    "SettingsError",
    "StoppedError",
    "Study",
    "Token",
    "TrainingError",
    "explain",
    "load_model",
    "read_study",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'medvqa' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
