"""The pages, and what holds for all of them: the looks, and who may see which."""

import streamlit as st

from medvqa.access import Permission
from ui.messages import errors_shown
from ui.people import identify
from ui.style import STYLE

PAGES: tuple[tuple[str, str, str, Permission], ...] = (
    ("pages/worklist.py", "Worklist", "list", "open"),
    ("pages/review.py", "Review", "visibility", "open"),
    ("pages/reports.py", "Reports", "description", "report"),
    ("pages/practice.py", "Practice", "exercise", "practise"),
    ("pages/audit.py", "Audit", "policy", "audit"),
    ("pages/quality.py", "Quality", "monitoring", "audit"),
    ("pages/models.py", "Models", "model_training", "models"),
)
"""File, title, icon, and the permission that it takes."""

st.set_page_config(page_title="medvqa", layout="wide")
st.html(STYLE)
person = None
with errors_shown():
    person = identify()
# Whoever is unknown gets one page, which offers a login; each page checks the permission again itself.
shown = [page for page in PAGES if person is not None and person.may(page[3])] or PAGES[:1]
st.navigation(
    [st.Page(file, title=title, icon=f":material/{icon}:") for file, title, icon, _ in shown],
    position="top",
).run()
