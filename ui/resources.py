"""What one session holds, and what all of them share: the model, the trail, the thread that asks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import streamlit as st

from audit import Log
from medvqa import Assistant
from medvqa.opening import named_model, open_model
from medvqa.records import Agent
from medvqa.sessions import Session, begin_session
from medvqa.settings import Settings, load_settings

if TYPE_CHECKING:
    from medvqa.models.base import VisionLanguageModel
    from ui.people import Person


def open_session(person: Person, settings: Settings) -> Session:
    """This browser session's place at the trail; its login is recorded once, and again for another person.

    Raises:
        MedvqaError, AuditError: If keys or trail are of no use.
    """
    known: Session | None = st.session_state.get("session")
    if known is not None and known.agent.name == person.name:
        return known
    role = settings.role if person.through == "local" else person.role
    st.session_state.session = begin_session(
        open_log(settings.audit_url),
        Agent(name=person.name, role=role),
        key_folder=settings.key_folder,
        settings=settings,
        screens=True,
    )
    return st.session_state.session


def open_assistant(session: Session) -> Assistant:
    """The assistant of this browser session, with the model that the settings name.

    Raises:
        MedvqaError, AuditError: If settings, model or trail are of no use.
    """
    if "assistant" not in st.session_state:
        settings = load_settings()
        st.session_state.assistant = Assistant(
            open_configured_model(settings),
            audit=session.log,
            agent=session.agent.name,
            role=session.agent.role,
            key_folder=session.key_folder,
            unfamiliar=settings.unfamiliar,
        )
    return st.session_state.assistant


def open_configured_model(settings: Settings) -> VisionLanguageModel:
    """The model that the settings name, loaded or reached once."""
    return _open_model(named_model(settings))


_open_model = st.cache_resource(show_spinner="Loading the model")(open_model)


@st.cache_resource(show_spinner=False)
def open_log(url: str) -> Log:
    """Open a trail once."""
    return Log(url)


@st.cache_resource(show_spinner=False)
def open_worker() -> ThreadPoolExecutor:
    """One thread, for a model answers one question at a time, whoever asks."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="asking")
