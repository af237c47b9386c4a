"""Opening a study: from the worklist, by its path on this machine, or from files that the browser sends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from medvqa.assistant import open_study
from medvqa.settings import load_settings
from ui.desk import Desk
from ui.priors import find_priors
from ui.stacks import BROWSER, serve
from ui.uploads import open_upload

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

    from medvqa import Study
    from medvqa.sessions import Session


def offer_opening(session: Session) -> bool:
    """Draw both ways to open a study that is not in the worklist; True once one is open.

    Raises:
        MedvqaError, AuditError: If what was named or sent is no study, or the trail did not take it.
    """
    by_path, by_upload = st.columns(2)
    with by_path.form("by path", border=False):
        path = st.text_input(
            "Path on this machine", key="path", help="A DICOM, PNG or JPEG file, a folder or a ZIP archive."
        )
        opened = st.form_submit_button("Open", width="stretch")
    # Cleared, for a file's name may be a patient's.
    with by_upload.form("by upload", border=False, clear_on_submit=True):
        files = st.file_uploader("Or files from your browser", key="files", accept_multiple_files=True)
        sent = st.form_submit_button("Open files", width="stretch")
    with st.spinner("Reading the study"):
        if opened and path.strip():
            lay_out(session, open_study(session, Path(path.strip())))
            return True
        if sent and files:
            lay_out(session, *open_upload(session, files))
            return True
    return False


def lay_out(session: Session, study: Study, uploaded: TemporaryDirectory[str] | None = None) -> None:
    """Lay a study on this person's desk, in place of what lay there."""
    browser = st.context.cookies.get(BROWSER, "")
    st.session_state.desk = Desk(
        study=study,
        served=serve(study, browser=browser),
        banner=f"Patient {session.pseudonym_of(study) or 'not named in the files'}",
        priors=find_priors(study, load_settings()),
        uploaded=uploaded,
    )
