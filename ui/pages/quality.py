"""How answers fare with those who read them, week by week and apart by modality, adapter and reader."""

from typing import cast

import streamlit as st

from medvqa.quality import By, measure_by, measure_quality
from ui.agreement import APART, draw_weeks, read_judged, show_practice, show_quality
from ui.messages import errors_shown
from ui.page import begin_page

person, session, settings = begin_page("Quality", "audit")
with errors_shown():
    events = read_judged(session)
    show_practice(session)
    if not events:
        st.info("No answer was given yet. Once there are some, this page says how often readers agree.")
        st.stop()
    show_quality(measure_quality(events))
    draw_weeks(measure_by(events, "week"))
    by = st.segmented_control("Apart by", APART, default=APART[0], key="by")
    for name, quality in measure_by(events, cast("By", by or APART[0])).items():
        show_quality(quality, name=name)
