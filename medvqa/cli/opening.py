"""From settings to an assistant, for every command that asks."""

import logging
import warnings
from pathlib import Path

import torch
from transformers.utils.logging import disable_progress_bar

from medvqa.assistant import Assistant
from medvqa.opening import named_model, open_model, with_shots
from medvqa.sessions import Session
from medvqa.settings import Settings


def open_assistant(
    settings: Settings, session: Session, *, max_new_tokens: int = 32, shots: Path | None = None
) -> Assistant:
    """Load or reach the model that the settings name, for a session that can record what it does."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    model = open_model(named_model(settings, max_new_tokens=max_new_tokens))
    return Assistant(
        model if shots is None else with_shots(model, shots),
        audit=session.log,
        agent=settings.agent,
        role=settings.role,
        key_folder=settings.key_folder,
        unfamiliar=settings.unfamiliar,
    )


def quieten_libraries() -> None:
    """Keep other libraries' remarks out of a person's output; errors still come through."""
    warnings.filterwarnings("ignore")
    disable_progress_bar()
    for name in ("transformers", "pydicom", "peft", "PIL", "torch", "openai", "httpx2"):
        logging.getLogger(name).setLevel(logging.ERROR)
