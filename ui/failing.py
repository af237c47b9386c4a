"""What a person sees, and what the server writes down, when something fails that nobody foresaw."""

import logging
import secrets
import traceback

import streamlit as st

_LOGGER = logging.getLogger("medvqa.ui")


def report_failure(error: Exception) -> bool:
    """Show a reference in place of the error, and log it with where it happened.

    Neither gives the error's own words, which may quote a file, and so a patient.

    Returns:
        True: nothing else is to be shown.
    """
    reference = secrets.token_hex(4)
    places = " < ".join(
        f"{frame.filename}:{frame.lineno} {frame.name}"
        for frame in reversed(traceback.extract_tb(error.__traceback__)[-8:])
    )
    _LOGGER.error("failure %s: %s at %s", reference, type(error).__name__, places)
    st.error(
        f"Something failed in medvqa itself (reference {reference}). What was recorded is safe: reload the"
        " page, and give the reference to whoever looks after medvqa if it fails again."
    )
    return True


def withhold_traces() -> None:
    """Keep Streamlit from logging the same error with its words."""
    logging.getLogger("streamlit.error_util").addFilter(lambda _: False)
