"""Asking about the image on screen, once a submission, and waiting for what comes of it."""

from __future__ import annotations

from concurrent.futures import wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from audit import AuditError
from medvqa import MedvqaError
from medvqa.heatmaps import HEATMAPS
from medvqa.prompts import MAX_QUESTION_CHARACTERS
from medvqa.reading.stories import find_same, read_stories
from ui.messages import plain
from ui.resources import open_assistant, open_worker

if TYPE_CHECKING:
    from concurrent.futures import Future

    from medvqa import Answer
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One question that was asked, once, and the answer to come."""

    question: str
    pending: Future[Answer]


def ask(session: Session, desk: Desk, image_number: int) -> None:
    """Draw suggestions and form, and put what is submitted to the model.

    Asking goes on in a thread of its own, so that a rerun of the page waits for the same answer instead of
    asking again; a second submission while one waits asks nothing.

    Raises:
        MedvqaError, AuditError: As `Assistant.ask`, and what keeps the model or the trail from opening.
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
        method = select.selectbox("Heatmap", (NONE, *HEATMAPS), format_func=_name_method, key="method")
        submitted = button.form_submit_button("Ask", type="primary", width="stretch")
    if submitted and not is_waiting(desk):
        submit(session, desk, image_number, question, None if method == NONE else method)


def submit(
    session: Session, desk: Desk, image_number: int, question: str, heatmap: HeatmapMethod | None
) -> None:
    """Start asking, or show what was answered to the same question about the same pixels before."""
    desk.problem = None
    assistant = open_assistant(session)
    stories = read_stories(session.log, study=desk.study.study_instance_uid)
    same = find_same(stories, desk.study.images[image_number - 1], question, assistant.model.identity)
    if same is not None and (heatmap is None or desk.has_map(same.answer_id, heatmap)):
        desk.shown = same.answer_id
        st.toast("Asked before, by the same model about the same pixels: the recorded answer is shown.")
        return
    pending = open_worker().submit(
        assistant.ask, desk.study, question, image_number=image_number, heatmap=heatmap
    )
    desk.submission = Submission(question=question, pending=pending)


def is_waiting(desk: Desk) -> bool:
    """Whether a question is being answered; until then, a second click asks nothing."""
    return desk.submission is not None and not desk.submission.pending.done()


def receive(desk: Desk) -> None:
    """Wait for the answer that is on its way, if one is; lay it, or what came in its place, on the desk."""
    if desk.submission is not None:
        with st.spinner("Answering, checking and recording", show_time=True):
            wait([desk.submission.pending])
        submission, desk.submission = desk.submission, None
        try:
            desk.lay(submission.pending.result())
        except (MedvqaError, AuditError) as error:
            desk.problem = str(error)
        st.rerun()  # the viewer was drawn before there was a map
    if desk.problem is not None:
        st.error(plain(desk.problem))


def _take_suggestion() -> None:
    st.session_state.question = st.session_state.suggestion
    st.session_state.suggestion = None


def _name_method(method: str) -> str:
    return method.replace("_", " ")
