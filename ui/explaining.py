"""Why an answer, one word of it, or it rather than another: a map of that, on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from medvqa.digests import digest_model
from medvqa.errors import DicomError, ModelError
from medvqa.heatmaps import HEATMAPS
from medvqa.heatmaps.targets import ANSWER, ChosenWord, Contrast, Target
from medvqa.reading.places import find_images
from ui.asking import name_method
from ui.resources import open_assistant
from ui.waiting import Came, is_waiting, submit

if TYPE_CHECKING:
    from medvqa.reading.stories import Story
    from medvqa.sessions import Session
    from medvqa.types import HeatmapMethod
    from ui.desk import Desk

_FIRST: HeatmapMethod = "occlusion"
"""The method that is offered first: it asks the model itself, and no approximation of it."""


def offer_explanations(session: Session, desk: Desk, story: Story) -> None:
    """Draw what can be explained of an answer, and have the model explain what is chosen.

    Raises:
        ModelError: If the model cannot be loaded, or another one gave this answer.
        DicomError: If the study no longer has the image.
    """
    with st.expander("Why this answer?"):
        methods = tuple(HEATMAPS)
        method = st.selectbox(
            "By",
            methods,
            index=methods.index(_FIRST),
            format_func=name_method,
            key=f"method of {story.answer_id}",
        )
        words = str(story.answered.entity["answer"]).split()
        key = f"word of {story.answer_id}"
        number = st.pills(
            "Click a word to see what speaks for it",
            range(1, len(words) + 1),
            format_func=lambda number: words[number - 1],
            key=key,
        )
        whole, against = st.columns([1, 2], vertical_alignment="bottom")
        target: Target | None = None
        if whole.button("The whole answer", key=f"whole {story.answer_id}", width="stretch"):
            target = ANSWER
        with against.form(f"against {story.answer_id}", border=False):
            field, button = st.columns([2, 1], vertical_alignment="bottom")
            other = field.text_input("Rather than", placeholder="another answer, such as no")
            if button.form_submit_button("Why?", width="stretch") and other.strip():
                target = Contrast(other.strip())
    done: dict[str, int | None] = st.session_state.setdefault("words explained", {})
    if number is not None and number != done.get(key):
        target = ChosenWord(number)
    done[key] = number
    if target is not None and not is_waiting(desk):
        explain(session, desk, story, method, target)
        st.rerun()  # what the model is doing is drawn above


def explain(session: Session, desk: Desk, story: Story, method: HeatmapMethod, target: Target) -> None:
    """Have the model that gave an answer explain it."""
    assistant = open_assistant(session)
    if story.answered.model != digest_model(assistant.model.identity):
        raise ModelError("another model gave this answer, and only that one can explain it; ask again first")
    place = find_images(desk.study, [story]).get(story.answer_id)
    if place is None:
        raise DicomError("the study no longer has the image that this answer is about; open it again")
    study, image = desk.study, desk.study.images[place]

    def do() -> Came:
        heatmap = assistant.explain(story, study, image, method, target=target)
        return Came(answer_id=story.answer_id, image=image.ref, heatmap=heatmap)

    submit(desk, do)
