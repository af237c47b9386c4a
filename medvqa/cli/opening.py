"""From settings to an assistant, for every command that asks."""

import logging
import warnings

import torch
from transformers.utils.logging import disable_progress_bar

from audit import Log
from medvqa.assistant import Assistant
from medvqa.models.checkpoints import DEFAULT_MODEL
from medvqa.models.huggingface import load_model
from medvqa.settings import Settings


def open_assistant(settings: Settings) -> Assistant:
    """Load the model that the settings name and open their trail."""
    quieten_libraries()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    # The trail first: a model that takes a minute to load is of no use where nothing can be recorded.
    log = Log(settings.audit_url)
    model = load_model(settings.model or DEFAULT_MODEL, adapter=settings.adapter, device=settings.device)
    return Assistant(model, audit=log, agent=settings.agent)


def quieten_libraries() -> None:
    """Keep other libraries' remarks out of a person's output; errors still come through."""
    warnings.filterwarnings("ignore")
    disable_progress_bar()
    for name in ("transformers", "pydicom", "peft", "PIL", "torch"):
        logging.getLogger(name).setLevel(logging.ERROR)
