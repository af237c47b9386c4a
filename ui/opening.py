"""Opening a study: by its path on this machine, or from files that the browser sends."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from medvqa.assistant import open_study
from medvqa.sessions import Session
from ui.desk import Desk
from ui.messages import errors_shown, show_notices


def choose_study(session: Session) -> Desk | None:
    """Draw both ways to open a study, and what is open; None where nothing is."""
    with st.form("by path", border=False):
        path = st.text_input(
            "Path on this machine", key="path", help="A DICOM, PNG or JPEG file, a folder or a ZIP archive."
        )
        by_path = st.form_submit_button("Open", width="stretch")
    # Cleared, for a file's name may be a patient's.
    with st.form("by upload", border=False, clear_on_submit=True):
        files = st.file_uploader("Or files from your browser", key="files", accept_multiple_files=True)
        by_upload = st.form_submit_button("Open files", width="stretch")
    with errors_shown(), st.spinner("Reading the study"):
        if by_path and path.strip():
            st.session_state.desk = open_path(session, Path(path.strip()))
        elif by_upload and files:
            st.session_state.desk = open_upload(session, files)
    desk: Desk | None = st.session_state.get("desk")
    if desk is not None:
        count = len(desk.study.images)
        st.markdown(f"**Study {desk.name}**, {count} image{'s' * (count != 1)}")
        show_notices(desk.study.warnings)
    return desk


def open_path(session: Session, path: Path) -> Desk:
    """Read a study where it lies; that it was opened is recorded."""
    return Desk(path=path, study=open_study(session, path))


def open_upload(session: Session, files: Sequence[UploadedFile]) -> Desk:
    """Read a study from uploaded files, kept under neutral names in a folder that goes with the desk."""
    folder = TemporaryDirectory(prefix="medvqa-")
    for number, file in enumerate(files, start=1):
        (Path(folder.name) / f"uploaded file {number}").write_bytes(file.getbuffer())
    path = Path(folder.name) / "uploaded file 1" if len(files) == 1 else Path(folder.name)
    return Desk(path=path, study=open_study(session, path), uploaded=folder)
