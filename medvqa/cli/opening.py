"""From settings to an assistant, for every command that asks."""

import logging
import warnings

import torch
from transformers.utils.logging import disable_progress_bar

from medvqa.assistant import Assistant
from medvqa.opening import open_model
from medvqa.sessions import Session
from medvqa.settings import Settings


def open_assistant(settings: Settings, session: Session) -> Assistant:
    """Load or reach the model that the settings name, for a session that can record what it does."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    model = open_model(
        settings.model,
        adapter=settings.adapter,
        device=settings.device,
        precision=settings.precision,
        remote=settings.remote,
        remote_identified=settings.remote_identified,
    )
    return Assistant(
        model,
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
