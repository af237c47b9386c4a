"""The audit trail: search it, read one subject's whole story, verify it, take it away."""

from ui.messages import errors_shown
from ui.page import begin_page
from ui.trail import search_trail, verify_trail

person, session, settings = begin_page("Audit", "audit")
with errors_shown():
    verify_trail(session)
    search_trail(session)
