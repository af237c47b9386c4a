"""One question and its answer as they stand in the trail, with what the answer is worth."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import streamlit as st

from medvqa.checks.verdict import MEANINGS
from medvqa.types import NOT_FOR_DIAGNOSIS
from ui.messages import plain

if TYPE_CHECKING:
    from medvqa.reading.stories import State, Story
    from medvqa.types import Verdict

Colour: TypeAlias = Literal["gray", "blue", "green", "orange", "red"]

STATES: dict[State, tuple[str, Colour]] = {
    "unread": ("Unread", "gray"),
    "in_review": ("In review", "blue"),
    "accepted": ("Accepted", "blue"),
    "corrected": ("Corrected", "blue"),
    "rejected": ("Rejected", "red"),
    "signed": ("Signed", "green"),
    "addendum": ("Signed, with addendum", "green"),
}
"""What each state is called, and its colour."""
VERDICT_COLOURS: dict[Verdict, Colour] = {
    "grounded": "green",
    "unsure": "orange",
    "fragile": "orange",
    "image_blind": "red",
}

CALIBRATED = (
    "Of a hundred answers with this number, about images and questions like those it was measured on, so many"
    " were right."
)
UNCALIBRATED = (
    "Mean probability that the model gave the words of this answer, from 0 to 1. Uncalibrated: it orders the"
    " answers of one model, and is not the chance of being right."
)
RELIANCE = (
    "How much likelier the picture makes this answer than an empty picture would, in nats: 0.7 is twice as"
    " likely, 0 or less means that the picture did nothing for it."
)
EFFECT = (
    "How much likelier the picture makes this answer than the least fitting of other pictures, in nats. Near"
    " 0 the model would say this to any image."
)
WORDING = (
    "How much likelier the answer is in these words than in the least fitting paraphrase of the question, in"
    " nats: from 0.7 on, other words would have halved it."
)


def show_exchange(story: Story) -> None:
    """Draw question, answer, verdict of the checks, and how far the answer has come."""
    entity: Any = story.answered.entity
    checks = entity["checks"]
    name, colour = STATES[story.state]
    with st.container(border=True):
        asked, state = st.columns([3, 1], vertical_alignment="center")
        asked.caption(plain(entity["question"]))
        state.badge(name, color=colour)
        show_text(entity["answer"], abstains=checks["abstains"])
        verdict: Verdict = checks["verdict"]
        st.badge(verdict.replace("_", " "), color=VERDICT_COLOURS[verdict], help=MEANINGS[verdict])
        st.caption(plain(MEANINGS[verdict]))
        show_numbers(checks)
        if entity["warnings"]:
            st.caption("Warnings: " + ", ".join(code.replace("_", " ") for code in entity["warnings"]))
        show_outcome(story)
        st.caption(f"{NOT_FOR_DIAGNOSIS} Audit row {story.answered.sequence}, answer {story.answer_id}")


def show_text(text: str, *, abstains: bool) -> None:
    """Draw the answer in large letters, or that the model cannot tell, with its guess in small ones."""
    said = escape(text) or "<em>The model gave no words.</em>"
    if abstains:
        said = f'I can\'t tell. <span style="font-size: 1rem; opacity: 0.7">Its guess: {said}</span>'
    st.html(f'<p style="font-size: 1.6rem; margin: 0; white-space: pre-wrap">{said}</p>')


def show_numbers(checks: dict[str, Any]) -> None:
    """Draw confidence and what image and wording did to the answer, each with its meaning on hover."""
    calibrated = checks["confidence_calibrated"]
    confidence, reliance, effect, wording = st.columns(4)
    confidence.metric(
        "Confidence" if calibrated else "Uncalibrated",
        f"{checks['confidence']:.2f}",
        help=CALIBRATED if calibrated else UNCALIBRATED,
    )
    reliance.metric("Image reliance", f"{checks['image_reliance']:+.2f}", help=RELIANCE)
    effect.metric("Image effect", f"{checks['image_effect']:+.2f}", help=EFFECT)
    wording.metric("Wording effect", f"{checks['wording_effect']:+.2f}", help=WORDING)


def show_outcome(story: Story) -> None:
    """Draw what people made of the answer, the last word last."""
    for review in story.reviews:
        text = f": {review.entity['text']}" if review.entity["text"] else ""
        st.markdown(plain(f"{review.entity['reviewer']}, {review.verdict}{text}"))
    for signature in story.signatures:
        when = f"{signature.recorded:%Y-%m-%d %H:%M} UTC"
        signed = f"{signature.entity['signer']} signed on {when}: {signature.entity['meaning']}"
        st.markdown(plain(signed))
    for addendum in story.addenda:
        st.markdown(
            plain(f"{addendum.agent} added on {addendum.recorded:%Y-%m-%d}: {addendum.entity['text']}")
        )
