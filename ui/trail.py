"""Where an answer is recorded, and whether the record still is as it was written."""

import streamlit as st

from audit import Log, Verification
from medvqa import Answer
from ui.messages import plain

MOST_PROBLEMS = 5
"""Problems spelt out on the page; `medvqa audit verify` lists them all."""

VERIFY_HELP = (
    "Recomputes every hash of the trail and names each row that was altered, deleted, moved or slipped in."
    " Rows cut off the end are shown by checkpoints kept elsewhere:"
    " see medvqa audit verify --checkpoint."
)


def show_trail(answer: Answer, log: Log) -> None:
    """Draw where `answer` is recorded, and a button that verifies the whole trail.

    Raises:
        AuditError: If the trail cannot be read.
    """
    place, button = st.columns([2, 1], vertical_alignment="center")
    place.caption(f"Audit row {answer.audit_id}, answer {answer.answer_id}")
    if button.button("Verify trail", key="verify", help=VERIFY_HELP, width="stretch"):
        with st.spinner("Recomputing the trail"):
            verification = log.verify()
        show_verification(verification)


def show_verification(verification: Verification) -> None:
    """Draw what recomputing the trail found."""
    if verification.intact:
        st.success(f"Intact: {verification.events} events. Note the head elsewhere:")
        st.code(verification.root, language=None, wrap_lines=True)
        return
    problems = verification.problems
    named = "; ".join(problem.message for problem in problems[:MOST_PROBLEMS])
    more = len(problems) - MOST_PROBLEMS
    st.error(plain(f"Not intact: {named}" + (f"; and {more} more" if more > 0 else "")))
