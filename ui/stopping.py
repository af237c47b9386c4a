"""The stop switch on the screen: for one study, or for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from medvqa.stopping import resume, stop, stopped
from ui.messages import plain

if TYPE_CHECKING:
    from medvqa.sessions import Session
    from ui.people import Person


def show_switch(session: Session, person: Person, *, study: str) -> None:
    """Draw that answering was stopped, where it was, and for whoever may the switch itself."""
    for uid, what in ((study, "this study"), (None, "all studies")):
        event = stopped(session.log, uid)
        if event is not None:
            st.error(plain(f"Answering about {what} was stopped by {event.agent}: {event.entity['reason']}"))
    if not person.may("stop"):
        return
    with st.expander("Stop or resume answering"), st.form("switch", clear_on_submit=True):
        uid = study if st.radio("About", ("this study", "all studies")) == "this study" else None
        reason = st.text_input("Why")
        stop_it, resume_it = st.columns(2)
        if stop_it.form_submit_button("Stop", width="stretch"):
            stop(session, reason=reason, study=uid)
            st.rerun()
        if resume_it.form_submit_button("Resume", width="stretch"):
            resume(session, reason=reason, study=uid)
            st.rerun()
