"""Reports: what became of the answers about each study, as a draft, final or amended, to take away."""

import streamlit as st

from ui.messages import errors_shown
from ui.page import begin_page
from ui.reporting import choose_reported, find_reported, offer_report, show_contents

person, session, settings = begin_page("Reports", "report")
desk = st.session_state.get("desk")
with errors_shown():
    listed = find_reported(session, settings, desk)
    if not listed:
        st.info(
            "There is nothing to report yet. Ask about a study of the worklist: its report is a draft until"
            " every answer is signed, then final, and amended once something was added."
        )
        st.stop()
    chosen = choose_reported(listed, session, desk)
    if chosen is None:
        st.info("Choose a study to see what its report says.")
        st.stop()
    show_contents(chosen)
    offer_report(session, settings, chosen, desk)
