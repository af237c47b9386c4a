"""The worklist: which studies there are, how far each has come, and the way to each of them."""

import streamlit as st

from medvqa.assistant import record_opening
from ui.disagreeing import choose_disagreement
from ui.listing import choose_listed, read_worklist
from ui.messages import errors_shown
from ui.opening import lay_out, offer_opening
from ui.page import begin_page

person, session, settings = begin_page("Worklist", "open")
with errors_shown():
    listed = read_worklist(session, settings)
    if not listed:
        st.info(
            "The worklist is empty. Name a folder of studies with the key studies in medvqa.toml, or open "
            "one study below."
        )
    row = choose_listed(listed, session) if listed else None
    chosen = None if row is None else row.listed
    if settings.double_reading and person.may("sign"):
        chosen = choose_disagreement(listed) or chosen
    if chosen is not None:
        record_opening(session, chosen.study, source="worklist")
        lay_out(session, chosen.study)
        st.switch_page("pages/review.py")
with st.expander("Open a study that is not in the list", expanded=not listed), errors_shown():
    if offer_opening(session):
        st.switch_page("pages/review.py")
