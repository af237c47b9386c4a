"""What every page begins with: who is there, whether they may be, and what the page is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import streamlit as st

from audit import AuditError
from medvqa import MedvqaError
from medvqa.sessions import end_session
from medvqa.settings import Settings, load_settings
from medvqa.types import NOT_FOR_DIAGNOSIS
from ui.messages import plain
from ui.people import Person, has_expired, identify
from ui.resources import open_session

if TYPE_CHECKING:
    from medvqa.access import Permission
    from medvqa.sessions import Session

ALONE = "Nobody logs in here: whoever sees this page is {name}."


def begin_page(title: str, permission: Permission) -> tuple[Person, Session, Settings]:
    """Draw the title; go on only for somebody who is known and may see the page.

    Everything that a page shows comes after this, so that each run is checked on the server.
    """
    try:
        settings = load_settings()
        person = identify()
        if person is None:
            _ask_who()
        if has_expired(settings):
            _end(person)
        person.require(permission)
        session = open_session(person, settings)
    except (MedvqaError, AuditError) as error:
        st.error(plain(str(error)))
        st.stop()
    _draw_heading(title, person)
    return person, session, settings


def _draw_heading(title: str, person: Person) -> None:
    heading, who, out = st.columns([2, 7, 1], vertical_alignment="center")
    heading.subheader(title, anchor=False)
    about = ALONE.format(name=person.name) if person.through == "local" else f"{person.name}, {person.role}"
    who.caption(plain(f"{NOT_FOR_DIAGNOSIS} {about}"))
    if person.through == "login" and out.button("Log out", width="stretch"):
        _clear("logged out")
        st.logout()


def _ask_who() -> NoReturn:
    st.info("Log in to go on.")
    if st.button("Log in", type="primary"):
        st.login()
    st.stop()


def _clear(reason: str) -> None:
    """Put away what lay open, once it is recorded that the session ended."""
    session: Session | None = st.session_state.get("session")
    if session is not None:
        end_session(session, reason=reason)
    for name in list(st.session_state):
        del st.session_state[name]


def _end(person: Person) -> NoReturn:
    """End a session that nobody used: what lay open is put away."""
    _clear("not used")
    if person.through == "login":
        st.logout()
    st.info("This session ended, for nobody used it. What was recorded is in the trail.")
    st.button("Begin again", type="primary")
    st.stop()
