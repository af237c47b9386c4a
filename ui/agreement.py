"""Figures of what readers made of answers, on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from audit import Filter
from audit.actions import Action
from medvqa.reading.practice import measure_bias
from medvqa.records import read_trail, record
from ui.messages import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from audit import Event
    from medvqa.quality import By, Quality
    from medvqa.sessions import Session

_READ = (Action.ANSWER, Action.FIRST_READ, Action.REVIEW, Action.SIGN)
APART: tuple[By, ...] = ("modality", "adapter", "reader")
FIGURES = {
    "reviewed": ("Reviewed", "Answers that somebody judged."),
    "agreed": ("Agreed", "Share of the reviewed answers that stood as the model gave them."),
    "image_blind": ("Image-blind", "Share of all answers that the model would give to any image."),
    "abstained": ("Can't tell", "Share of all answers at which the model said that it cannot tell."),
    "calibration_error": (
        "Calibration error",
        "How far confidence is, on average, from the share of answers that readers agree with; 0 is best.",
    ),
    "seconds": ("Seconds", "Median time from an answer's appearance to its verdict."),
    "readers_agreed": (
        "Readers agree",
        "Share of the answers reviewed by two people who said the same.",
    ),
    "first_reads_changed": (
        "Minds changed",
        "Of the answers that a reader had contradicted before seeing them: the share at which they then"
        " agreed with the model. A high one asks for a second look: readers follow machines too easily.",
    ),
}
"""By field of `Quality`: its name, and what it means."""


def read_judged(session: Session) -> list[Event]:
    """Answers and what people made of them; that they were read is recorded once a session.

    Raises:
        RecordError: If the trail does not take it that somebody reads it.
        AuditError: If the trail cannot be read.
    """
    if "quality read" not in st.session_state:
        record(session.log, read_trail(session.agent, command="quality", entity={"through": "screens"}))
        st.session_state["quality read"] = True
    found = [event for action in _READ for event in session.log.read(Filter(action=action))]
    return sorted(found, key=lambda event: event.sequence)


def show_quality(quality: Quality, *, name: str | None = None) -> None:
    """Draw one row of figures; a dash where there was nothing to measure."""
    if name is not None:
        st.markdown(f"**{plain(name)}**, {quality.answers} answers")
    columns = st.columns(len(FIGURES))
    for column, (field, (title, meaning)) in zip(columns, FIGURES.items(), strict=True):
        value = getattr(quality, field)
        if value is None:
            shown = "–"
        elif field == "reviewed":
            shown = f"{value} of {quality.answers}"
        else:
            shown = f"{value:.0f}" if field == "seconds" else f"{value:.2f}"
        column.metric(title, shown, help=meaning)


def show_practice(session: Session) -> None:
    """Draw how each reader fared in practice, where anybody practised."""
    readers: dict[str, list[Event]] = {}
    for event in session.log.read(Filter(action=Action.PRACTICE)):
        readers.setdefault(event.agent, []).append(event)
    if not readers:
        return
    st.markdown("**Practice**: answers planted wrong, and what readers made of them")
    measured = {reader: measure_bias(events) for reader, events in sorted(readers.items())}
    st.dataframe(
        [
            {
                "Reader": reader,
                "Wrong answers shown": bias.planted,
                "Followed": bias.followed,
                "Right answers shown": bias.right,
                "Distrusted": bias.distrusted,
            }
            for reader, bias in measured.items()
        ],
        key="practice by reader",
        hide_index=True,
        column_config={
            "Followed": st.column_config.NumberColumn(format="percent"),
            "Distrusted": st.column_config.NumberColumn(format="percent"),
        },
    )


def draw_weeks(weeks: Mapping[str, Quality]) -> None:
    """Draw agreement, image-blind answers and abstentions over time, where there is more than one week."""
    if len(weeks) < 2:
        return
    st.line_chart(
        [
            {
                "Week": week,
                "Agreed": quality.agreed,
                "Image-blind": quality.image_blind,
                "Can't tell": quality.abstained,
            }
            for week, quality in weeks.items()
        ],
        x="Week",
        y=["Agreed", "Image-blind", "Can't tell"],
    )
