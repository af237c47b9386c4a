"""Sentences on the screen."""

import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager

import streamlit as st

from audit import AuditError
from medvqa import MedvqaError, Notice


def plain(text: str) -> str:
    """Escape Markdown: file names and answers are data, and could else load a picture from anywhere."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


@contextmanager
def errors_shown() -> Generator[None]:
    """Show what was refused or went wrong as the one sentence that it is, in place of the rest."""
    try:
        yield
    except (MedvqaError, AuditError) as error:
        st.error(plain(str(error)))


def show_notices(notices: Iterable[Notice]) -> None:
    """Show each warning with the DICOM tag that it rests on."""
    for notice in notices:
        st.warning(plain(" ".join(filter(None, (notice.message, notice.tag)))))
