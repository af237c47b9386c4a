"""A reader's part in an answer: first read, verdict, signature, addendum."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import streamlit as st

from medvqa.errors import ReviewError
from medvqa.reading.double_reading import require_double_reading
from medvqa.reading.first_reads import commit_first_read
from medvqa.reading.reviews import review
from medvqa.reading.signatures import NOT_RELEASED_AS_THEY_ARE, add_addendum, sign
from ui.messages import plain

if TYPE_CHECKING:
    from medvqa.reading.stories import Story
    from medvqa.sessions import Session
    from medvqa.settings import Settings
    from medvqa.types import ReviewVerdict
    from ui.people import Person

VERDICTS: dict[ReviewVerdict, tuple[str, str]] = {
    "agree": ("Agree", "Alt+1"),
    "amend": ("Amend", "Alt+2"),
    "reject": ("Reject", "Alt+3"),
}
TEXTS: dict[ReviewVerdict, str] = {
    "agree": "Remark (may stay empty)",
    "amend": "The right answer",
    "reject": "Why it is rejected",
}
MEANINGS = ("reviewed and approved", "reviewed", "responsible for the report")
"""Of a signature (21 CFR 11.50)."""


def ask_first_read(story: Story, session: Session) -> bool:
    """Draw the form that stands in the answer's place until the reader committed; True once that is done."""
    if any(one.agent == session.agent.name for one in story.first_reads) or story.reviews:
        return True
    with st.form(f"first read of {story.answer_id}"):
        st.caption(plain(str(story.answered.entity["question"])))
        own = st.text_input("Your own answer, before the model's is shown")
        commit, skip = st.columns(2)
        committed = commit.form_submit_button("Commit and show", type="primary", width="stretch")
        skipped = skip.form_submit_button("Skip and show", width="stretch")
    if skipped or (committed and own.strip()):
        commit_first_read(
            session, story.answer_id, text=None if skipped else own, seconds=seconds_on(story.answer_id)
        )
        st.rerun()
    if committed:
        st.warning("Write your answer, or skip.")
    return False


def judge(story: Story, session: Session) -> None:
    """Draw the three verdicts, none of them chosen, and the form of the one that is."""
    if story.signatures:
        return
    chosen = choose_verdict(story.answer_id)
    if chosen is None:
        return
    with st.form(f"review of {story.answer_id}", clear_on_submit=True):
        text = st.text_area(TEXTS[chosen], height=80)
        if st.form_submit_button(f"Record: {chosen}", type="primary", width="stretch"):
            review(session, story.answer_id, verdict=chosen, text=text, seconds=seconds_on(story.answer_id))
            del st.session_state[f"verdict on {story.answer_id}"]
            st.rerun()


def choose_verdict(about: str) -> ReviewVerdict | None:
    """Draw the three verdicts on something, none of them chosen beforehand; the one that is."""
    chosen: ReviewVerdict | None = st.session_state.get(f"verdict on {about}")
    for column, (verdict, (name, keys)) in zip(st.columns(3), VERDICTS.items(), strict=True):
        kind = "primary" if verdict == chosen else "secondary"
        key = f"{verdict} {about}"
        if column.button(name, key=key, shortcut=keys, type=kind, width="stretch"):
            st.session_state[f"verdict on {about}"] = verdict
            st.rerun()
    return chosen


def offer_signature(
    story: Story, session: Session, person: Person, settings: Settings, *, unseen: int
) -> None:
    """Draw the form that signs the last review, with who signs typed anew and what it means."""
    reviewed = story.review
    if reviewed is None or story.signatures:
        return
    if reviewed.verdict == "agree" and story.answered.verdict in NOT_RELEASED_AS_THEY_ARE:
        st.warning(
            plain(f"The checks call this answer {story.answered.verdict}: amend or reject it to sign.")
        )
        return
    if settings.double_reading:
        try:
            require_double_reading(story)
        except ReviewError as missing:
            st.info(plain(str(missing).capitalize()))
            return
    if unseen:
        st.warning(f"{unseen} image{'s' * (unseen != 1)} of this series were not looked at.")
    with st.form(f"signature of {story.answer_id}", clear_on_submit=True):
        meaning = st.selectbox("What the signature means", MEANINGS)
        typed = st.text_input(f"Type {person.name} to sign", autocomplete="off")
        if st.form_submit_button("Sign", type="primary", width="stretch"):
            if typed.strip() != person.name:
                st.error(plain(f"Type {person.name}, as you are logged in; nothing was signed."))
                return
            sign(session, story.answer_id, meaning=meaning, double_reading=settings.double_reading)
            st.rerun()


def offer_addendum(story: Story, session: Session) -> None:
    """Draw the form that adds to a signed answer."""
    if not story.signatures:
        return
    with (
        st.expander("Add to what was signed"),
        st.form(f"addendum to {story.answer_id}", clear_on_submit=True),
    ):
        text = st.text_area("Addendum", height=80)
        if st.form_submit_button("Record the addendum", width="stretch"):
            add_addendum(session, story.answer_id, text=text)
            st.rerun()


def seconds_on(answer_id: str) -> float:
    """How long this answer has been before the reader, or its question where it is held back."""
    started: dict[str, float] = st.session_state.setdefault("first shown", {})
    return round(time.monotonic() - started.setdefault(answer_id, time.monotonic()), 1)
