"""The page: a study on the left, questions and answers about its images on the right."""

import streamlit as st

from medvqa.types import NOT_FOR_DIAGNOSIS
from ui.answering import answer_about, ask
from ui.messages import errors_shown
from ui.opening import choose_study
from ui.viewer import choose_image, show_image

st.set_page_config(page_title="medvqa", layout="wide")

with st.sidebar:
    st.header("medvqa", anchor=False)
    st.caption(NOT_FOR_DIAGNOSIS)
    desk = choose_study()

if desk is None:
    st.info("Open a study to ask about it.")
    st.stop()

left, right = st.columns([11, 10], gap="medium")
with left, errors_shown():
    shown = choose_image(desk)
    show_image(shown, answer_about(desk, shown))
    with right, errors_shown():
        ask(desk, shown)
