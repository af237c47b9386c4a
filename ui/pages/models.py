"""What answers: the model and its adapter, their digests, and what was measured about them."""

import streamlit as st

from medvqa.models.checkpoints import DEFAULT_MODEL
from ui.measured import show_calibration, show_card, show_figures, show_gate, show_identity
from ui.messages import errors_shown
from ui.page import begin_page
from ui.resources import open_model

person, session, settings = begin_page("Models", "models")
with errors_shown():
    name = settings.model or DEFAULT_MODEL
    model = open_model(name, settings.adapter, settings.device, settings.precision)
    show_identity(model.identity)
    measured, gate, card = st.tabs(("Measured", "Release gate", "Card"))
    with measured:
        show_calibration(model.calibration)
        show_figures(settings.adapter or name)
    with gate:
        show_gate(settings.adapter or name)
    with card:
        show_card(settings.adapter or name)
