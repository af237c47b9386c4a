"""Exercises on the screen: one case after the other, judged, and then what was right."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import streamlit as st

from audit import Filter
from audit.actions import Action
from medvqa.cases import Case, read_cases
from medvqa.errors import TrainingError
from medvqa.reading.practice import Exercise, commit_exercise, measure_bias, set_exercises
from medvqa.study import read_study
from ui.desk import Desk
from ui.judging import TEXTS, choose_verdict
from ui.messages import plain
from ui.stacks import BROWSER, serve

if TYPE_CHECKING:
    from pathlib import Path

    from medvqa import Study
    from medvqa.sessions import Session


@dataclass(slots=True, kw_only=True)
class Bench:
    """The exercises of one person, and the one that lies open."""

    exercises: tuple[Exercise, ...]
    place: int
    desk: Desk | None = None
    shown_at: float = 0.0
    judged: bool = False
    """Whether the open one was judged, so that its right answer shows."""

    @property
    def exercise(self) -> Exercise | None:
        """The open one; None once all are done."""
        return self.exercises[self.place] if self.place < len(self.exercises) else None

    def turn(self) -> None:
        """Go on to the next."""
        self.place, self.desk, self.judged = self.place + 1, None, False


def open_bench(session: Session, cases: Path) -> Bench:
    """This person's exercises, beginning after those that the trail has.

    Raises:
        TrainingError: If the cases cannot be read.
    """
    bench: Bench | None = st.session_state.get("bench")
    if bench is None:
        exercises = set_exercises(read_cases(cases), reader=session.agent.name)
        done = {event.subject for event in session.log.read(_own(session))}
        place = next((at for at, one in enumerate(exercises) if one.name not in done), len(exercises))
        bench = st.session_state.bench = Bench(exercises=exercises, place=place)
    return bench


def lay_out(bench: Bench, exercise: Exercise) -> Desk:
    """The exercise's image on a desk of its own.

    Raises:
        DicomError: If it cannot be read.
    """
    if bench.desk is None:
        study = read_case(exercise.case)
        served = serve(study, browser=st.context.cookies.get(BROWSER, ""))
        bench.desk = Desk(study=study, served=served, banner="Practice: no patient's care depends on this")
        bench.shown_at = time.monotonic()
    return bench.desk


def read_case(case: Case) -> Study:
    """The case's image as a study of that image alone.

    Raises:
        TrainingError: If the file has no such frame.
        DicomError: If it cannot be read.
    """
    study = read_study(case.image)
    places = range(len(study.frames))
    place = len(places) // 2
    if case.frame is not None:
        found = [at for at in places if study.frames[at].ref.frame_number == case.frame]
        if not found:
            raise TrainingError(
                f"{case.image.name} has {len(places)} frames, not {case.frame}; correct its line"
            )
        place = found[0]
    series = next(one for one in study.series if place in one.images)
    return replace(
        study,
        images=study.images[place : place + 1],
        frames=study.frames[place : place + 1],
        series=(replace(series, images=range(1)),),
    )


def show_exercise(session: Session, bench: Bench, exercise: Exercise) -> None:
    """Draw question, answer, verdicts, and once it is judged what was right.

    Raises:
        ReviewError, RecordError: As `commit_exercise`.
    """
    st.caption(f"Exercise {bench.place + 1} of {len(bench.exercises)}")
    with st.container(border=True):
        st.caption(plain(exercise.case.question))
        st.subheader(plain(exercise.shown), anchor=False)
        st.caption("Shown as if a model had said so. Some are wrong on purpose.")
    if bench.judged:
        _reveal(bench, exercise)
        return
    chosen = choose_verdict(f"exercise {bench.place}")
    if chosen is None:
        return
    with st.form(f"exercise {bench.place}"):
        text = st.text_area(TEXTS[chosen], height=80)
        if st.form_submit_button(f"Record: {chosen}", type="primary", width="stretch"):
            seconds = round(time.monotonic() - bench.shown_at, 1)
            commit_exercise(session, exercise, verdict=chosen, text=text, seconds=seconds)
            bench.judged = True
            st.rerun()


def _reveal(bench: Bench, exercise: Exercise) -> None:
    right = plain(f"The right answer: {exercise.case.answer}")
    if exercise.planted:
        st.warning(f"What was shown had been planted wrong. {right}")
    else:
        st.success(f"What was shown was right. {right}")
    st.button("Next", type="primary", shortcut="Alt+N", on_click=bench.turn, width="stretch")


def show_bias(session: Session) -> None:
    """Draw how this person fared so far."""
    bias = measure_bias(session.log.read(_own(session)))
    followed, distrusted = st.columns(2)
    followed.metric(
        "Followed when wrong",
        "–" if bias.followed is None else f"{bias.followed:.0%} of {bias.planted}",
        help="Share of the wrong answers shown that you agreed with: automation bias. 0 is best.",
    )
    distrusted.metric(
        "Distrusted when right",
        "–" if bias.distrusted is None else f"{bias.distrusted:.0%} of {bias.right}",
        help="Share of the right answers shown that you amended or rejected. 0 is best.",
    )


def _own(session: Session) -> Filter:
    return Filter(action=Action.PRACTICE, agent=session.agent.name)
