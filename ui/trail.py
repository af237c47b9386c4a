"""Where an answer is recorded, and whether the record still is as it was written."""

import streamlit as st

from audit import Verification
from medvqa import Answer
from medvqa.records import read_trail, record
from medvqa.sessions import Session
from medvqa.signing_keys import trusted_keys
from ui.messages import plain

MOST_PROBLEMS = 5
"""Problems spelt out on the page; `medvqa audit verify` lists them all."""

VERIFY_HELP = (
    "Recomputes every hash of the trail and names each row that was altered, deleted, moved or slipped in."
    " Only a signed checkpoint that is kept elsewhere shows that no rows were cut off the end or rewritten:"
    " see medvqa audit checkpoint. That you verify is recorded too."
)


def show_trail(answer: Answer, session: Session) -> None:
    """Draw where `answer` is recorded, and a button that verifies the whole trail.

    Raises:
        RecordError: If the trail does not take it that somebody reads it.
        AuditError: If the trail or the public keys cannot be read.
    """
    place, button = st.columns([2, 1], vertical_alignment="center")
    place.caption(f"Audit row {answer.audit_id}, answer {answer.answer_id}")
    if button.button("Verify trail", key="verify", help=VERIFY_HELP, width="stretch"):
        with st.spinner("Recomputing the trail"):
            record(session.log, read_trail(session.agent, command="verify", entity={"through": "screens"}))
            verification = session.log.verify(keys=trusted_keys(session.key_folder))
        show_verification(verification)


def show_verification(verification: Verification) -> None:
    """Draw what recomputing the trail found."""
    if verification.intact:
        covered = f"{verification.covered} of them under signed checkpoints"
        st.success(f"Intact: {verification.events} events, {covered}. Root of the tree:")
        st.code(verification.root, language=None, wrap_lines=True)
        return
    problems = verification.problems
    named = "; ".join(problem.message for problem in problems[:MOST_PROBLEMS])
    more = len(problems) - MOST_PROBLEMS
    st.error(plain(f"Not intact: {named}" + (f"; and {more} more" if more > 0 else "")))
