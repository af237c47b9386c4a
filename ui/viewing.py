"""The open study in the viewer: which series, beside which other, under which map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from ui.listing import name_study
from ui.stack_viewer import Overlay, Stack, show_stacks

if TYPE_CHECKING:
    from medvqa import Study
    from medvqa.sessions import Session
    from medvqa.types import Series
    from ui.desk import Desk
    from ui.priors import Prior

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A series of the open study, or of a prior."""

    study: Study
    series: Series
    prior: Prior | None = None


def show_study(desk: Desk, session: Session) -> Looked:
    """Draw the choice of series, the viewer, and the answer's map where there is one.

    Raises:
        RecordError: If the trail does not take it that a prior is looked at.
    """
    own = {
        _name(one): one for one in (_Shown(study=desk.study, series=series) for series in desk.study.series)
    }
    priors = {
        _name(one): one
        for prior in desk.priors
        for one in (_Shown(study=prior.study, series=series, prior=prior) for series in prior.study.series)
    }
    chosen, beside = next(iter(own.values())), None
    if len(own) + len(priors) > 1:
        first, second = st.columns(2)
        name = first.selectbox("Series", tuple(own), key="series")
        chosen = own[name]
        others = [one for one in own if one != name]
        beside = (own | priors).get(second.selectbox("Beside it", (NOTHING, *others, *priors), key="beside"))
    stacks = [_stack(one, desk, session) for one in (chosen, beside) if one is not None]
    came = desk.mapped()
    heatmap = None
    if came is not None and came.heatmap is not None:
        heatmap = Overlay(
            answer=came.answer_id,
            source=desk.served.source_of(came.answer_id),
            ref=came.image,
            shape=came.heatmap.values.shape,
        )
    view = show_stacks(stacks, banner=desk.banner, height=HEIGHT_PX, heatmap=heatmap)
    desk.seen.setdefault(chosen.series.series_instance_uid, set()).update(view.seen)
    unseen = len(chosen.series.images) - len(desk.seen[chosen.series.series_instance_uid])
    return Looked(image_number=chosen.series.images.start + view.image, unseen=unseen)


def _stack(shown: _Shown, desk: Desk, session: Session) -> Stack:
    served = desk.served if shown.prior is None else shown.prior.open(session)
    images = shown.series.images
    return Stack(
        name=f"{served.ticket} {images.start}",
        label=_name(shown),
        source=served.source,
        first=images.start,
        count=len(images),
        start=len(images) // 2,
        modality=shown.series.modality,
    )


def _name(shown: _Shown) -> str:
    series = shown.series
    number = shown.study.series.index(series) + 1
    name = f"Series {number}, {series.modality}, {len(series.images)} images"
    return name if shown.prior is None else f"Study {name_study(shown.study)}, {shown.prior.distance}: {name}"
