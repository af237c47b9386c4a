"""Figures of what readers made of answers, computed by hand beside."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from audit import Event
from medvqa.quality import measure_by, measure_quality

_START = datetime(2026, 1, 5, 9, tzinfo=UTC)


class Trail:
    """Events as a trail would give them back."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def add(self, action: str, subject: str, entity: dict[str, Any], **given: Any) -> Event:
        event = Event(
            sequence=len(self.events) + 1,
            recorded=given.pop("recorded", _START),
            hash="0" * 64,
            agent=given.pop("agent", "ada"),
            action=action,
            subject=subject,
            entity=entity,
            **given,
        )
        self.events.append(event)
        return event

    def answer(
        self, subject: str, *, confidence: float = 0.9, verdict: str = "grounded", **given: Any
    ) -> None:
        entity = {
            "answer": given.pop("text", "yes"),
            "modality": given.pop("modality", "MR"),
            "model": {"name": "default", "adapter": given.pop("adapter", None)},
            "checks": {
                "confidence": confidence,
                "verdict": verdict,
                "abstains": given.pop("abstains", False),
            },
        }
        self.add("answer", subject, entity, **given)

    def review(self, subject: str, verdict: str, *, seconds: float | None = None, agent: str = "ada") -> None:
        text = None if verdict == "agree" else "no"
        entity = {"reviewer": agent, "text": text, "seconds": seconds}
        self.add("review", subject, entity, verdict=verdict, agent=agent)


def test_nothing_measured_is_nothing_said() -> None:
    quality = measure_quality([])
    assert (quality.answers, quality.reviewed) == (0, 0)
    assert quality.agreed is quality.image_blind is quality.calibration_error is quality.seconds is None


def test_shares_are_of_what_was_reviewed_or_answered() -> None:
    trail = Trail()
    trail.answer("a", verdict="image_blind")
    trail.answer("b", abstains=True)
    trail.answer("c")
    trail.answer("d")
    trail.review("a", "agree", seconds=10)
    trail.review("b", "amend", seconds=30)
    trail.review("c", "agree", seconds=20)
    quality = measure_quality(trail.events)
    assert (quality.answers, quality.reviewed) == (4, 3)
    assert quality.agreed == pytest.approx(2 / 3)
    assert (quality.image_blind, quality.abstained, quality.seconds) == (0.25, 0.25, 20)


def test_calibration_error_is_of_the_confidence_that_readers_agree() -> None:
    trail = Trail()
    for number in range(4):
        trail.answer(f"sure {number}", confidence=0.95)
        trail.review(f"sure {number}", "agree" if number else "reject")
    trail.answer("unsure", confidence=0.25)
    trail.review("unsure", "reject")
    # Four at 0.95 of which three are right, one at 0.25 that is not.
    assert measure_quality(trail.events).calibration_error == pytest.approx((4 * 0.2 + 0.25) / 5)


def test_minds_that_changed_are_those_of_readers_who_had_said_something_else() -> None:
    trail = Trail()
    for subject, own, verdict in (("a", "no", "agree"), ("b", "no", "reject"), ("c", "Yes ", "agree")):
        trail.answer(subject)
        trail.add("first_read", subject, {"text": own, "skipped": False, "seconds": 1.0})
        trail.review(subject, verdict)
    trail.answer("skipped")
    trail.add("first_read", "skipped", {"text": None, "skipped": True, "seconds": 1.0})
    trail.review("skipped", "agree")
    assert measure_quality(trail.events).first_reads_changed == 0.5


def test_answers_are_told_apart_by_week_modality_adapter_and_reader() -> None:
    trail = Trail()
    trail.answer("a", modality="MR")
    trail.answer("b", modality="CT", adapter="lung", recorded=datetime(2026, 1, 12, tzinfo=UTC))
    trail.review("a", "agree", agent="bob")
    assert list(measure_by(trail.events, "week")) == ["2026-W02", "2026-W03"]
    assert {name: one.answers for name, one in measure_by(trail.events, "modality").items()} == {
        "CT": 1,
        "MR": 1,
    }
    assert list(measure_by(trail.events, "adapter")) == ["default", "lung"]
    assert list(measure_by(trail.events, "reader")) == ["bob", "not reviewed"]
