"""The page: a study on the left, questions and answers about its images on the right."""

import streamlit as st

from medvqa.types import NOT_FOR_DIAGNOSIS
from ui.answering import answer_about, ask
from ui.messages import errors_shown
from ui.opening import choose_study
from ui.resources import open_session
from ui.viewer import choose_image, show_image

# Rounded corners would hide pixels of an image; the space saved lets image and answer stand side by side.
STYLE = """<style>
.stMainBlockContainer { padding: 3rem 2rem 1rem }
.stImage img { border-radius: 0 }
</style>"""

st.set_page_config(page_title="medvqa", layout="wide")
st.html(STYLE)

desk = None
with st.sidebar:
    st.header("medvqa", anchor=False)
    st.caption(NOT_FOR_DIAGNOSIS)
    with errors_shown():
        desk = choose_study(open_session())

if desk is None:
    st.info("Open a study to ask about it.")
    st.stop()

left, right = st.columns([6, 5], gap="medium")
with left, errors_shown():
    shown = choose_image(desk)
    show_image(shown, answer_about(desk, shown))
    with right, errors_shown():
        ask(open_session(), desk, shown)
