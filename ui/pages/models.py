"""What answers: the model and its adapter, their digests, and what was measured about them."""

import streamlit as st

from medvqa.models.base import is_open
from medvqa.models.checkpoints import DEFAULT_MODEL
from ui.measured import show_calibration, show_card, show_figures, show_gate, show_identity
from ui.messages import errors_shown
from ui.page import begin_page
from ui.resources import open_configured_model

person, session, settings = begin_page("Models", "models")
with errors_shown():
    name = settings.adapter or settings.model or DEFAULT_MODEL
    model = open_configured_model(settings)
    show_identity(model.identity)
    if not is_open(model):
        st.info("This model is on a server: nothing was measured about it here, and its files are not known.")
        st.stop()
    measured, gate, card = st.tabs(("Measured", "Release gate", "Card"))
    with measured:
        show_calibration(model.calibration)
        show_figures(name)
    with gate:
        show_gate(name)
    with card:
        show_card(name)
