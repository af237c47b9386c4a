"""Practice: cases whose answer is known, to see how readily one follows a wrong one."""

import streamlit as st

from ui.messages import errors_shown
from ui.page import begin_page
from ui.practising import lay_out, open_bench, show_bias, show_exercise
from ui.viewing import show_study

person, session, settings = begin_page("Practice", "practise")
if settings.practice is None:
    st.info(
        "There is nothing to practise on. Name a file of cases with the key practice in medvqa.toml, such as"
        " the cases.jsonl that medvqa simulate writes."
    )
    st.stop()
with errors_shown():
    bench = open_bench(session, settings.practice)
    exercise = bench.exercise
    if exercise is None:
        st.success("You have done every exercise.")
        show_bias(session)
        st.stop()
    left, right = st.columns([7, 5], gap="small")
    with left:
        show_study(lay_out(bench, exercise), session)
    with right:
        show_exercise(session, bench, exercise)
        show_bias(session)
