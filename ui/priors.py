"""Other studies of the same patient, to look at beside the open one."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import streamlit as st

from medvqa.assistant import record_opening
from ui.listing import list_all
from ui.stacks import BROWSER, Served, serve

if TYPE_CHECKING:
    from medvqa import Study
    from medvqa.sessions import Session
    from medvqa.settings import Settings


@dataclass(slots=True, kw_only=True)
class Prior:
    """Another study of the patient; its pixels are served once somebody looks at it."""

    study: Study
    distance: str
    """From the open study in time, for a person."""
    served: Served | None = None

    def open(self, session: Session) -> Served:
        """Serve its pixels, after it was recorded, once, that this study was opened too.

        Raises:
            RecordError: If the trail did not take it.
        """
        if self.served is None:
            record_opening(session, self.study, source="beside another")
            self.served = serve(self.study, browser=st.context.cookies.get(BROWSER, ""))
        return self.served


def find_priors(study: Study, settings: Settings) -> list[Prior]:
    """Studies of the worklist's folder that name the same patient, the nearest in time first."""
    if study.patient is None:
        return []
    others = [
        (_days(one, study), one)
        for one in list_all(settings)
        if one.patient == study.patient and one.study_instance_uid != study.study_instance_uid
    ]
    others.sort(key=lambda other: inf if other[0] is None else abs(other[0]))
    return [Prior(study=one, distance=_describe(days)) for days, one in others]


def _days(other: Study, study: Study) -> int | None:
    if other.study_date is None or study.study_date is None:
        return None
    return (other.study_date - study.study_date).days


def _describe(days: int | None) -> str:
    if days is None:
        return "date unknown"
    if days == 0:
        return "same day"
    return f"{abs(days)} day{'s' * (abs(days) != 1)} {'before' if days < 0 else 'after'}"
