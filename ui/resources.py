"""What every session shares: the model, the trail, and the one thread that asks."""

from concurrent.futures import ThreadPoolExecutor

import streamlit as st

from audit import Log
from medvqa import Assistant, load_model
from medvqa.models.checkpoints import DEFAULT_MODEL
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.settings import load_settings


def open_assistant() -> Assistant:
    """The assistant that the settings describe.

    Raises:
        SettingsError, ModelError, AuditError: If settings, model or trail are of no use.
    """
    settings = load_settings()
    # The trail first: a model that takes a minute to load is of no use where nothing can be recorded.
    log = open_log(settings.audit_url)
    model = open_model(settings.model or DEFAULT_MODEL, settings.adapter, settings.device)
    return Assistant(model, audit=log, agent=settings.agent)


@st.cache_resource(show_spinner="Loading the model")
def open_model(name: str, adapter: str | None, device: str | None) -> HuggingFaceModel:
    """Load a model once."""
    return load_model(name, adapter=adapter, device=device)


@st.cache_resource(show_spinner=False)
def open_log(url: str) -> Log:
    """Open a trail once."""
    return Log(url)


@st.cache_resource(show_spinner=False)
def open_worker() -> ThreadPoolExecutor:
    """One thread, for a model answers one question at a time, whoever asks."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="asking")
