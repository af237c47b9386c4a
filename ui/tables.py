"""Tables on the screen of which one line can be chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def choose_line(lines: Sequence[Mapping[str, Any]], *, key: str) -> int | None:
    """Draw a table; the place of the line that was chosen, from 0, if one was that is still there."""
    rows = st.dataframe(
        list(lines), key=key, hide_index=True, on_select="rerun", selection_mode="single-row"
    ).selection.rows
    return rows[0] if rows and rows[0] < len(lines) else None
