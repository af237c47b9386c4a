"""Earlier cases that look like the image on screen, with what was signed about them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from medvqa import records
from medvqa.models.contrastive import ContrastiveModel, load_contrastive
from medvqa.retrieval.index import CaseIndex
from medvqa.retrieval.similar import SIMILARITY, find_by_text, find_similar
from ui.messages import errors_shown, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medvqa.reading.stories import Story
    from medvqa.retrieval.similar import SimilarCase
    from medvqa.sessions import Session
    from medvqa.settings import Settings
    from ui.desk import Desk


def offer_similar(session: Session, desk: Desk, settings: Settings, image_number: int) -> None:
    """Draw the look-up, where the settings name an index and its model, and what the last one found."""
    if settings.similar_index is None or settings.similar_model is None:
        return
    # What goes wrong here takes nothing else from the screen.
    with st.expander("Similar earlier cases"), errors_shown():
        with st.form("similar", border=False):
            text = st.text_input(
                "Like the image on screen, or like this sentence",
                key="similar text",
                placeholder="leave empty for the image; name no patient",
            )
            wanted = st.form_submit_button("Find")
        if wanted:
            with st.spinner("Looking for similar cases"):
                _find(session, desk, settings, image_number, text.strip())
        if desk.similar is None:
            return
        st.markdown(f"**{plain(desk.similar_to)}**")
        _show(desk.similar.cases, nothing="The index holds no other study.")
        if desk.similar.priors:
            st.markdown("**Other studies of the same patient**")
            _show(desk.similar.priors, nothing="")
        st.caption(SIMILARITY)


def _find(session: Session, desk: Desk, settings: Settings, image_number: int, text: str) -> None:
    model = _open_model(str(settings.similar_model), settings.device)
    index = CaseIndex(Path(str(settings.similar_index)), model.identity)
    if "contrastive" not in st.session_state:
        records.record(session.log, records.load_model(session.agent, model.identity))
        st.session_state.contrastive = True
    if text:
        desk.similar = find_by_text(session, index, model, text, study=desk.study)
        desk.similar_to = f"Most like: {text}"
    else:
        image = desk.study.images[image_number - 1]
        desk.similar = find_similar(session, index, model, image, study=desk.study)
        desk.similar_to = f"Most like image {image_number}"


def _show(cases: Sequence[SimilarCase], *, nothing: str) -> None:
    if not cases:
        st.markdown(nothing)
    for case in cases:
        unknown = "" if case.same_patient is not None else "; patient not known"
        st.markdown(f"**{case.similarity:+.3f}** study {plain(case.image.study_instance_uid)}{unknown}")
        if not case.signed:
            st.caption("Its record is archived." if case.signed is None else "Nothing about it was signed.")
        for story in case.signed or ():
            st.caption(plain(_say(story, about_image=case.is_about_image(story))))


def _say(story: Story, *, about_image: bool) -> str:
    said = "rejected" if story.text is None else story.text
    where = "about this image" if about_image else "about another image of it"
    return f"{story.question} {said} (signed by {story.signatures[-1].entity['signer']}, {where})"


@st.cache_resource(show_spinner="Loading the model")
def _open_model(name: str, device: str | None) -> ContrastiveModel:
    return load_contrastive(name, device=device)
