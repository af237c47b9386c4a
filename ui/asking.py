"""Asking about the image on screen: suggestions, the form, and an answer that was given before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from medvqa.heatmaps import HEATMAPS
from medvqa.prompts import MAX_QUESTION_CHARACTERS
from medvqa.reading.stories import find_same, read_stories
from ui.resources import open_assistant
from ui.waiting import Came, is_waiting, submit

if TYPE_CHECKING:
    from medvqa.sessions import Session
    from medvqa.types import HeatmapMethod
    from ui.desk import Desk

SUGGESTIONS = {
    "MR": ("Is there a tumor?", "Which finding is shown?", "Which organ is this?"),
    "CR": ("Is there pneumonia?", "Normal or abnormal?", "Which organ is this?"),
    "DX": ("Is there pneumonia?", "Normal or abnormal?", "Which organ is this?"),
    "US": ("Is there a lesion?", "Which finding is shown?", "Which organ is this?"),
}
"""Questions to begin with, by Modality (0008,0060)."""
ANYTHING = ("Which modality is this?", "Which organ is this?", "Is this normal?")
NONE = "none"
"""Stands for no heatmap."""


def ask(session: Session, desk: Desk, image_number: int) -> None:
    """Draw suggestions and form, and put what is submitted to the model.

    Raises:
        MedvqaError, AuditError: What keeps the model or the trail from opening.
    """
    modality = desk.study.frames[image_number - 1].modality
    st.pills(
        "Suggested questions",
        SUGGESTIONS.get(modality, ANYTHING),
        key="suggestion",
        on_change=_take_suggestion,
    )
    with st.form("ask"):
        question = st.text_input("Question", key="question", max_chars=MAX_QUESTION_CHARACTERS)
        select, button = st.columns([2, 1], vertical_alignment="bottom")
        method = select.selectbox("Heatmap", (NONE, *HEATMAPS), format_func=name_method, key="method")
        submitted = button.form_submit_button("Ask", type="primary", width="stretch")
    if submitted and not is_waiting(desk):
        put(session, desk, image_number, question, None if method == NONE else method)


def put(
    session: Session, desk: Desk, image_number: int, question: str, heatmap: HeatmapMethod | None
) -> None:
    """Put a question to the model, or show what it answered to the same about the same pixels before."""
    assistant = open_assistant(session)
    stories = read_stories(session.log, study=desk.study.study_instance_uid)
    same = find_same(stories, desk.study.images[image_number - 1], question, assistant.model.identity)
    if same is not None and (heatmap is None or desk.has_map(same.answer_id, heatmap)):
        desk.shown = same.answer_id
        st.toast("Asked before, by the same model about the same pixels: the recorded answer is shown.")
        return
    study = desk.study

    def do() -> Came:
        answer = assistant.ask(study, question, image_number=image_number, heatmap=heatmap)
        return Came(answer_id=answer.answer_id, image=answer.image, heatmap=answer.heatmap)

    submit(desk, do)


def _take_suggestion() -> None:
    st.session_state.question = st.session_state.suggestion
    st.session_state.suggestion = None


def name_method(method: str) -> str:
    """A heatmap method as it is called on the screen."""
    return method.replace("_", " ")
