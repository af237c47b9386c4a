"""Asking, once a submission, and reading what comes of it."""

from collections.abc import Sequence
from concurrent.futures import wait
from html import escape

import streamlit as st

from medvqa import Answer, Assistant, Notice
from medvqa.checks.verdict import MEANINGS
from medvqa.heatmaps import HEATMAPS
from medvqa.prompts import MAX_QUESTION_CHARACTERS
from medvqa.sessions import Session
from medvqa.types import NOT_FOR_DIAGNOSIS, HeatmapMethod
from ui.desk import Desk, Shown, Submission
from ui.messages import plain, show_notices
from ui.resources import open_assistant, open_worker
from ui.trail import show_trail

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

CALIBRATED_HELP = (
    "Of a hundred answers with this number, about images and questions like those it was measured on, so many"
    " were right."
)
UNCALIBRATED_HELP = (
    "Mean probability that the model gave the words of this answer, from 0 to 1. Uncalibrated: it orders the"
    " answers of one model, and is not the chance of being right."
)
RELIANCE_HELP = (
    "How much likelier the picture makes this answer than an empty picture would, in nats: 0.7 is twice as"
    " likely, 0 or less means that the picture did nothing for it."
)


def answer_about(desk: Desk, shown: Shown) -> Answer | None:
    """The last answer, where it is there and is about what is shown."""
    asked = desk.submission
    if asked is None or not asked.shown.is_picture_of(shown):
        return None
    if not asked.pending.done() or asked.pending.exception() is not None:
        return None
    return asked.pending.result()


def ask(session: Session, desk: Desk, shown: Shown) -> None:
    """Draw the form, and below it the last answer.

    Asking goes on in a thread of its own, so that a rerun of the page waits for the same answer instead of
    asking again.

    Raises:
        MedvqaError, AuditError: As `Assistant.ask`, and what keeps the model or the trail from opening.
    """
    assistant = open_assistant(session)
    submitted = draw_form(shown)
    if submitted is not None and not is_waiting(desk):
        submit(desk, assistant, shown, *submitted)
    # A place of its own: the spinner takes away the old answer, which is not about the new question.
    place = st.empty()
    if desk.submission is None:
        return
    if is_waiting(desk):
        with place, st.spinner("Answering, checking and recording"):
            wait([desk.submission.pending])
        st.rerun()
    with place.container():
        show_answer(desk.submission, shown, known=desk.study.warnings)
        show_trail(desk.submission.pending.result(), session)


def is_waiting(desk: Desk) -> bool:
    """Whether a question is being answered; until then, a second click asks nothing."""
    return desk.submission is not None and not desk.submission.pending.done()


def draw_form(shown: Shown) -> tuple[str, HeatmapMethod | None] | None:
    """Draw suggestions and form; return what was submitted just now."""
    suggestions = SUGGESTIONS.get(shown.image.modality, ANYTHING)
    st.pills("Suggested questions", suggestions, key="suggestion", on_change=_take_suggestion)
    with st.form("ask"):
        question = st.text_input("Question", key="question", max_chars=MAX_QUESTION_CHARACTERS)
        select, button = st.columns([2, 1], vertical_alignment="bottom")
        method = select.selectbox("Heatmap", (NONE, *HEATMAPS), format_func=_name_method, key="method")
        submitted = button.form_submit_button("Ask", type="primary", width="stretch")
    heatmap = None if method == NONE else method
    return (question, heatmap) if submitted else None


def submit(
    desk: Desk, assistant: Assistant, shown: Shown, question: str, heatmap: HeatmapMethod | None
) -> None:
    """Start asking. Nothing here gives Streamlit a chance to stop the run between asking and noting it."""
    study = desk.in_window(shown.window)
    pending = open_worker().submit(assistant.ask, study, question, image_number=shown.number, heatmap=heatmap)
    desk.submission = Submission(shown=shown, pending=pending)


def show_answer(asked: Submission, shown: Shown, *, known: Sequence[Notice]) -> None:
    """Draw an answer with what it is worth; warnings in `known` stand elsewhere on the page already."""
    answer = asked.pending.result()
    checks = answer.checks
    if not asked.shown.is_picture_of(shown):
        st.info(
            f"This answer is about image {asked.shown.number} as it was shown then, not the one on the left."
        )
    with st.container(border=True):
        st.caption(plain(answer.question))
        text = escape(answer.text) or "<em>The model gave no words.</em>"
        if checks.abstains:
            text = f'I can\'t tell. <span style="font-size: 1rem; opacity: 0.7">Its guess: {text}</span>'
        st.html(f'<p style="font-size: 1.6rem; margin: 0; white-space: pre-wrap">{text}</p>')
        st.markdown(f"**{plain(checks.verdict)}**: {MEANINGS[checks.verdict]}")
        confidence, reliance = st.columns(2)
        name, meaning = "Confidence, uncalibrated", UNCALIBRATED_HELP
        if checks.confidence_calibrated:
            name, meaning = "Confidence, calibrated", CALIBRATED_HELP
        confidence.metric(name, f"{checks.confidence:.2f}", help=meaning)
        reliance.metric("Image reliance", f"{checks.image_reliance:+.2f} nats", help=RELIANCE_HELP)
        st.caption(NOT_FOR_DIAGNOSIS)
    show_notices(notice for notice in answer.warnings if notice not in known)


def _take_suggestion() -> None:
    st.session_state.question = st.session_state.suggestion
    st.session_state.suggestion = None


def _name_method(method: str) -> str:
    return method.replace("_", " ")
