"""The audit trail on the screen: searched, one subject's whole story, verified, exported."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import streamlit as st

from audit import Filter
from audit.actions import Action
from audit.export import export
from medvqa.records import export_trail, read_trail, record
from medvqa.signing_keys import trusted_keys
from ui.messages import plain
from ui.tables import choose_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from audit import Event, Verification
    from medvqa.sessions import Session

MOST_PROBLEMS = 5
"""Problems spelt out on the page; `medvqa audit verify` lists them all."""
MOST_EVENTS = 500
"""Of one search."""
ANY = "any"
VERIFY_HELP = (
    "Recomputes every hash of the trail and names each row that was altered, deleted, moved or slipped in."
    " Only a signed checkpoint that is kept elsewhere shows that no rows were cut off the end or rewritten:"
    " see medvqa audit checkpoint. That you verify is recorded too."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was searched for, and what came of it."""

    matching: Filter
    events: list[Event]


def search_trail(session: Session) -> None:
    """Draw a search, its events, and the whole story of the one that is chosen; the search is recorded.

    Raises:
        RecordError: If the trail does not take it that somebody reads it.
        AuditError: If the trail cannot be read.
    """
    with st.form("search"):
        columns = st.columns(5)
        action = columns[0].selectbox("Action", (ANY, *Action))
        agent = columns[1].text_input("Agent")
        patient = columns[2].text_input("Patient (pseudonym)")
        study = columns[3].text_input("Study Instance UID")
        text = columns[4].text_input("Text in the event")
        if st.form_submit_button("Search"):
            matching = Filter(
                action=None if action == ANY else action,
                agent=agent.strip() or None,
                patient=patient.strip() or None,
                study=study.strip() or None,
                text=text.strip() or None,
            )
            st.session_state.found = Found(matching=matching, events=look_up(session, matching))
    found: Found | None = st.session_state.get("found")
    if found is None:
        st.info("Search for events, or leave all empty for the newest. That you search is recorded too.")
        return
    chosen = choose_event(found.events)
    if chosen is not None:
        show_story(session, chosen)
    offer_export(session, found.matching)


def look_up(session: Session, matching: Filter) -> list[Event]:
    """The newest events that match, after it was recorded who looks for what."""
    events = list(session.log.read(matching, limit=MOST_EVENTS, newest_first=True))
    about = {"through": "screens", "given": given(matching), "found": {"events": len(events)}}
    record(session.log, read_trail(session.agent, command="search", entity=about))
    return events


def given(matching: Filter) -> dict[str, str]:
    """What a search asked for."""
    return {name: str(value) for name, value in asdict(matching).items() if value is not None}


def choose_event(events: Sequence[Event]) -> Event | None:
    """Draw events as a table; the one that was chosen."""
    st.caption(f"{len(events)} events" + (", the newest of more" if len(events) == MOST_EVENTS else ""))
    place = choose_line(
        [
            {
                "Row": event.sequence,
                "When (UTC)": f"{event.recorded:%Y-%m-%d %H:%M:%S}",
                "Action": event.action,
                "Agent": event.agent,
                "Role": event.role,
                "Outcome": event.outcome,
                "Verdict": event.verdict,
                "Subject": event.subject,
                "Patient": event.patient,
            }
            for event in events
        ],
        key="events",
    )
    return None if place is None else events[place]


def show_story(session: Session, chosen: Event) -> None:
    """Draw all events about one subject, each with all that it holds."""
    events = list(session.log.read(Filter(subject=chosen.subject), limit=MOST_EVENTS))
    st.markdown(f"**{len(events)} events about {plain(chosen.subject)}**")
    for event in events:
        title = f"{event.sequence}: {event.action} by {event.agent}, {event.recorded:%Y-%m-%d %H:%M:%S} UTC"
        with st.expander(plain(title), expanded=event.sequence == chosen.sequence):
            st.caption(f"Leaf hash {event.hash}")
            st.code(json.dumps(event.entity, indent=2, ensure_ascii=False), language="json")


def offer_export(session: Session, matching: Filter) -> None:
    """Draw the button that exports what was searched for; what it makes is recorded before it is offered."""
    form, button = st.columns([1, 3], vertical_alignment="bottom")
    chosen = form.selectbox("Export as", ("csv", "ndjson", "fhir-r4", "fhir-r5"))
    if button.button("Make the export"):
        out = io.StringIO()
        exported = export(session.log, out, form=chosen, matching=matching)
        found = {"events": exported.events, "sha256": exported.sha256}
        about = {"through": "screens", "given": {"form": chosen, **given(matching)}, "found": found}
        record(session.log, export_trail(session.agent, entity=about))
        st.download_button(f"Download {exported.events} events", out.getvalue(), f"trail.{chosen}")


def verify_trail(session: Session) -> None:
    """Draw the button that recomputes the whole trail, and what it found.

    Raises:
        RecordError: If the trail does not take it that somebody verifies it.
        AuditError: If the trail or the public keys cannot be read.
    """
    if st.button("Verify the trail", key="verify", help=VERIFY_HELP):
        with st.spinner("Recomputing the trail"):
            record(session.log, read_trail(session.agent, command="verify", entity={"through": "screens"}))
            show_verification(session.log.verify(keys=trusted_keys(session.key_folder)))


def show_verification(verification: Verification) -> None:
    """Draw what recomputing the trail found."""
    if verification.intact:
        covered = f"{verification.covered} of them under signed checkpoints"
        st.success(f"Intact: {verification.events} events, {covered}. Root of the tree:")
        st.code(verification.root, language=None, wrap_lines=True)
        return
    problems = verification.problems
    named = "; ".join(problem.message for problem in problems[:MOST_PROBLEMS])
    more = len(problems) - MOST_PROBLEMS
    st.error(plain(f"Not intact: {named}" + (f"; and {more} more" if more > 0 else "")))
