"""The map of an answer: what its colours mean, how far to trust it, and the switch to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ui.messages import plain

if TYPE_CHECKING:
    from medvqa import Heatmap
    from ui.desk import Desk


def show_map(desk: Desk, answer_id: str) -> None:
    """Draw what is to be known of an answer's map, where one was made since the study was opened."""
    heatmap = desk.served.heatmaps.get(answer_id)
    if heatmap is None:
        return
    st.caption(describe_map(heatmap))
    if desk.shown != answer_id and st.button("Show this map in the viewer", key=f"map of {answer_id}"):
        desk.shown = answer_id
        st.rerun()


def describe_map(heatmap: Heatmap) -> str:
    """What the colours mean, and how far to trust them; of a map that is mere chance the reason alone."""
    grade = heatmap.grade
    if grade is not None and grade.level == "chance":
        return plain(grade.reason)
    rows, columns = heatmap.grid
    parts = [
        f"The {heatmap.method.replace('_', ' ')} map explains {plain(heatmap.explained)}. Pale yellow is"
        " most, dark red little, bare image nothing. The viewer's key O shows it.",
        f"It resolves {rows} x {columns} cells, nothing finer, and cannot tell whether the answer is right.",
    ]
    if grade is not None:
        parts.append(f"Grade {grade.level}: {plain(grade.reason)}")
    if heatmap.convergence_delta is not None:
        parts.append(f"Completeness error {heatmap.convergence_delta:.1%}; near 0 is good.")
    return " ".join(parts)
