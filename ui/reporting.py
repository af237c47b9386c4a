"""Reports on the screen: which studies have one, what it says, and the file to take away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from medvqa.reports import FORMS, Form, Issued, compose, issue, read_template
from medvqa.reports.report import status_of, what_holds, why_struck
from medvqa.worklist import list_study
from ui.exchange import STATES
from ui.listing import name_study, read_worklist
from ui.messages import plain
from ui.tables import choose_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medvqa.reading.stories import ReportStatus
    from medvqa.sessions import Session
    from medvqa.settings import Settings
    from medvqa.worklist import Listed
    from ui.desk import Desk

STATUSES: dict[ReportStatus, str] = {"preliminary": "Draft", "final": "Final", "amended": "Amended"}
FORM_NAMES: dict[Form, str] = {
    "html": "HTML",
    "pdf": "PDF",
    "json": "JSON",
    "fhir-r4": "FHIR R4",
    "fhir-r5": "FHIR R5",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The file that was made last, until another study is chosen or its answers went on."""

    study: str
    answers: tuple[tuple[str, ...], ...]
    issued: Issued


def find_reported(session: Session, settings: Settings, desk: Desk | None) -> list[Listed]:
    """Studies of the worklist, and the open one, that were asked about."""
    listed = [row.listed for row in read_worklist(session, settings) if row.listed is not None]
    if desk is not None and not any(is_open(one, desk) for one in listed):
        listed.append(list_study(session.log, desk.study))
    return [one for one in listed if one.stories]


def choose_reported(listed: Sequence[Listed], session: Session, desk: Desk | None) -> Listed | None:
    """Draw the table of reports; the one that was chosen, else that of the open study."""
    wanted = st.pills(
        "Status", STATUSES, format_func=STATUSES.__getitem__, selection_mode="multi", key="report status"
    )
    shown = [one for one in listed if not wanted or status_of(one.stories) in wanted]
    place = choose_line(
        [
            {
                "Study": name_study(one.study),
                "Patient": session.pseudonym_of(one.study) or "",
                "Modality": ", ".join(one.modalities),
                "Answers": len(one.stories),
                "Unsigned": one.unsigned,
                "Status": STATUSES[status_of(one.stories)],
            }
            for one in shown
        ],
        key="reports",
    )
    if place is not None:
        return shown[place]
    return next((one for one in shown if desk is not None and is_open(one, desk)), None)


def is_open(listed: Listed, desk: Desk) -> bool:
    """Whether that study lies on the desk."""
    return listed.study.study_instance_uid == desk.study.study_instance_uid


def show_contents(chosen: Listed) -> None:
    """Draw what the report says of each answer."""
    st.dataframe(
        [
            {
                "Question": story.answered.entity["question"],
                "Holds": what_holds(story) or "",
                "Struck out": "" if why_struck(story) is None else story.answered.entity["answer"],
                "Why": why_struck(story) or "",
                "State": STATES[story.state][0],
            }
            for story in chosen.stories
        ],
        key="contents",
        hide_index=True,
    )


def offer_report(session: Session, settings: Settings, chosen: Listed, desk: Desk | None) -> None:
    """Draw the buttons that make a file of the report and hand it out; it is recorded before it is offered.

    Raises:
        TemplateError: If the settings name a template of HTML that will not do.
        RecordError: If the trail does not take it.
    """
    study = chosen.study
    state = tuple((story.answer_id, story.state) for story in chosen.stories)
    form, button, download = st.columns([1, 1, 3], vertical_alignment="bottom")
    wanted = form.selectbox("Report as", tuple(FORM_NAMES), index=1, format_func=FORM_NAMES.__getitem__)
    if button.button("Make the report", type="primary", width="stretch"):
        heatmaps = desk.served.heatmaps if desk is not None and is_open(chosen, desk) else None
        with st.spinner("Making the report"):
            own = settings.report_template if wanted == "html" else None
            template = None if own is None else read_template(own)
            report = compose(session, study, heatmaps=heatmaps)
            issued = issue(session, report, wanted, template=template)
        st.session_state.made = Made(study=study.study_instance_uid, answers=state, issued=issued)
    made: Made | None = st.session_state.get("made")
    if made is None or (made.study, made.answers) != (study.study_instance_uid, state):
        return
    kind = FORMS[made.issued.form]
    download.download_button(
        f"Download the {FORM_NAMES[made.issued.form]}",
        made.issued.content,
        f"medvqa report {name_study(study)}{kind.suffix}",
        kind.media_type,
        on_click="ignore",
    )
    st.caption(plain(f"Audit row {made.issued.sequence}, SHA-256 {made.issued.sha256}"))
