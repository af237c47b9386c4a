"""The open study in the viewer: which series, beside which other, under which map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from ui.stack_viewer import Overlay, Stack, show_stacks

if TYPE_CHECKING:
    from medvqa.types import Series
    from ui.desk import Desk

HEIGHT_PX = 620
NOTHING = "nothing"
"""Stands for no series beside the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """Where the reader is in the study."""

    image_number: int
    """From 1, in the study."""
    unseen: int
    """Images of the series that were never on screen."""


def show_study(desk: Desk) -> Looked:
    """Draw the choice of series, the viewer, and the answer's map where there is one."""
    series = desk.study.series
    chosen, beside = series[0], None
    if len(series) > 1:
        first, second = st.columns(2)
        chosen = first.selectbox("Series", series, format_func=lambda one: _name(desk, one), key="series")
        others = [one for one in series if one is not chosen]
        beside = second.selectbox(
            "Beside it", (NOTHING, *others), format_func=lambda one: _name(desk, one), key="beside"
        )
    stacks = [_stack(desk, one) for one in (chosen, beside) if not isinstance(one, str | None)]
    came = desk.mapped()
    heatmap = None
    if came is not None and came.heatmap is not None:
        heatmap = Overlay(
            source=desk.served.source_of(came.answer_id), ref=came.image, shape=came.heatmap.values.shape
        )
    view = show_stacks(stacks, banner=desk.banner, height=HEIGHT_PX, heatmap=heatmap)
    desk.seen.setdefault(chosen.series_instance_uid, set()).update(view.seen)
    unseen = len(chosen.images) - len(desk.seen[chosen.series_instance_uid])
    return Looked(image_number=chosen.images.start + view.image, unseen=unseen)


def _stack(desk: Desk, series: Series) -> Stack:
    return Stack(
        name=f"{desk.served.ticket} {series.images.start}",
        label=_name(desk, series),
        source=desk.served.source,
        first=series.images.start,
        count=len(series.images),
        start=len(series.images) // 2,
        modality=series.modality,
    )


def _name(desk: Desk, series: Series | str) -> str:
    if isinstance(series, str):
        return series
    return f"Series {desk.study.series.index(series) + 1}, {series.modality}, {len(series.images)} images"
