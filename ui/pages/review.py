"""Reading one study: its images on the left; questions, answers and what to make of them on the right."""

import streamlit as st

from medvqa.reading.double_reading import veil
from medvqa.reading.stories import read_stories
from ui.asking import ask
from ui.exchange import show_exchange
from ui.explaining import offer_explanations
from ui.judging import ask_first_read, judge, offer_addendum, offer_signature
from ui.maps import show_map
from ui.messages import errors_shown, show_notices
from ui.page import begin_page
from ui.similar import offer_similar
from ui.stopping import show_switch
from ui.viewing import show_study
from ui.waiting import receive

person, session, settings = begin_page("Review", "open")
if (desk := st.session_state.get("desk")) is None:
    st.info("No study is open. Choose one in the worklist, or open one there by its path or from files.")
    st.stop()

left, right = st.columns([7, 5], gap="small")
with left, errors_shown():
    looked = show_study(desk, session)
    show_notices(desk.study.warnings)
with right, errors_shown():
    if person.may("ask"):
        ask(session, desk, looked.image_number)
        offer_similar(session, desk, settings, looked.image_number)
    # A place of its own, here and below: what comes and goes in it moves nothing else on the screen.
    with st.container():
        receive(desk)
    for story in reversed(read_stories(session.log, study=desk.study.study_instance_uid)):
        story = veil(story, session.agent.name) if settings.double_reading else story
        with st.container(key=f"story {story.answer_id}"):
            if settings.blind_first and not ask_first_read(story, session):
                continue
            show_exchange(story)
            show_map(desk, story.answer_id)
            if person.may("ask"):
                offer_explanations(session, desk, story)
            if person.may("review"):
                judge(story, session)
            if person.may("sign"):
                offer_signature(story, session, person, settings, unseen=looked.unseen)
                offer_addendum(story, session)
    show_switch(session, person, study=desk.study.study_instance_uid)
