"""Answers about which two readers differ, for a third one to decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from medvqa.reading.double_reading import READERS, disagree, readings
from ui.listing import name_study
from ui.tables import choose_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from audit import Event
    from medvqa.worklist import Listed
    from ui.listing import Row


def choose_disagreement(rows: Sequence[Row]) -> Listed | None:
    """Draw the list, where there is anything on it; the study of the one that was chosen."""
    found = [
        (row.listed, story) for row in rows if row.listed for story in row.listed.stories if disagree(story)
    ]
    if not found:
        return None
    st.markdown(
        f"**Two readers differ about {len(found)} answer{'s' * (len(found) != 1)}: a third one decides**"
    )
    place = choose_line(
        [
            {
                "Study": name_study(listed.study),
                "Question": story.question,
                "The model": story.answered.entity["answer"],
                "First reader": _say(readings(story)[0]),
                "Second reader": _say(readings(story)[READERS - 1]),
            }
            for listed, story in found
        ],
        key="disagreements",
    )
    return None if place is None else found[place][0]


def _say(review: Event) -> str:
    text = f": {review.entity['text']}" if review.entity["text"] else ""
    return f"{review.entity['reviewer']}, {review.verdict}{text}"
