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
    BatchError,
    CancelledError,
    CaseIndexError,
    DeidentificationError,
    DicomError,
    FormatError,
    GateError,
    LimitError,
    MedvqaError,
    ModelError,
    PacsError,
    PixelError,
    QuestionError,
    RecordError,
    ReviewError,
    ServiceError,
    SettingsError,
    StoppedError,
    TaskError,
    TemplateError,
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
    from medvqa.batch.running import run_batch
    from medvqa.ensembles import ask_together
    from medvqa.explaining import Explanation, explain
    from medvqa.models.base import Shot
    from medvqa.models.chat_api import connect
    from medvqa.models.door import load_model
    from medvqa.study import Limits, read_study
    from medvqa.tasks import TaskResult, perform

# Nouns and errors cost nothing; these bring PyTorch, MONAI and SQLAlchemy, and are loaded on use.
_HOMES = {
    "Assistant": "medvqa.assistant",
    "Explanation": "medvqa.explaining",
    "Limits": "medvqa.study",
    "Shot": "medvqa.models.base",
    "TaskResult": "medvqa.tasks",
    "ask_together": "medvqa.ensembles",
    "connect": "medvqa.models.chat_api",
    "explain": "medvqa.explaining",
    "load_model": "medvqa.models.door",
    "perform": "medvqa.tasks",
    "read_study": "medvqa.study",
    "run_batch": "medvqa.batch.running",
}

__all__ = [
    "AccessError",
    "Answer",
    "Assistant",
    "BatchError",
    "CancelledError",
    "CaseIndexError",
    "Checks",
    "DeidentificationError",
    "DicomError",
    "Explanation",
    "FormatError",
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
    "PacsError",
    "PixelError",
    "QuestionError",
    "RecordError",
    "ReviewError",
    "ServiceError",
    "SettingsError",
    "Shot",
    "StoppedError",
    "Study",
    "TaskError",
    "TaskResult",
    "TemplateError",
    "Token",
    "TrainingError",
    "ask_together",
    "connect",
    "explain",
    "load_model",
    "perform",
    "read_study",
    "run_batch",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'medvqa' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
