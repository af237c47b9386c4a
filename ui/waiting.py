"""Waiting for work on the model: what stage it is at, a way to stop it, and what came of it."""

from __future__ import annotations

import time
from concurrent.futures import wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import streamlit as st

from audit import AuditError
from medvqa import CancelledError, MedvqaError
from medvqa.long_work import LongWork, doing
from ui.messages import plain
from ui.resources import open_worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from medvqa.types import Heatmap, ImageRef
    from ui.desk import Desk

_AT_ONCE_S = 0.2
"""What is done by then is shown without a word about waiting."""
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """What came of work on the model: an answer that is in the trail now, and its map."""

    answer_id: str
    image: ImageRef
    """That the answer is about."""
    heatmap: Heatmap | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Work on its way."""

    pending: Future[Came]
    work: LongWork = field(default_factory=LongWork)
    started: float = field(default_factory=time.monotonic)


def submit(desk: Desk, do: Callable[[], Came]) -> None:
    """Have the model do something in a thread of its own, so that a rerun of the page asks nothing anew.

    Nothing is submitted while something is on its way.
    """
    if is_waiting(desk):
        return
    desk.problem = None
    work = LongWork()

    def run() -> Came:
        with doing(work):
            work.stage = "Beginning"
            return do()

    desk.submission = Submission(pending=open_worker().submit(run), work=work)


def is_waiting(desk: Desk) -> bool:
    """Whether the model is at work for this desk."""
    return desk.submission is not None and not desk.submission.pending.done()


def receive(desk: Desk) -> None:
    """Draw what the model is doing, or lay what came of it, or in its place, on the desk."""
    submission = desk.submission
    if submission is not None:
        wait([submission.pending], timeout=_AT_ONCE_S)
        if not submission.pending.done():
            _show_progress(submission)
        else:
            desk.submission = None
            try:
                desk.lay(submission.pending.result())
            except CancelledError:
                st.toast("Stopped, as you asked; that is recorded.")
            except (MedvqaError, AuditError) as error:
                desk.problem = str(error)
            st.rerun()  # the viewer was drawn before there was a map
    if desk.problem is not None:
        st.error(plain(desk.problem))


@st.fragment(run_every=_LOOK_EVERY_S)
def _show_progress(submission: Submission) -> None:
    if submission.pending.done():
        st.rerun()
    doing_what, button = st.columns([3, 1], vertical_alignment="center")
    stage = "Stopping" if submission.work.is_cancelled else submission.work.stage
    doing_what.info(
        f"{stage}, {time.monotonic() - submission.started:.0f} s", icon=":material/hourglass_top:"
    )
    button.button("Stop it", on_click=submission.work.cancel, width="stretch")
