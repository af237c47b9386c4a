"""Exercises: what is planted, what is recorded, and what readers made of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dicom_builder import image, write

from audit import Filter, Log
from medvqa.cases import Case
from medvqa.errors import ReviewError
from medvqa.reading.practice import Bias, commit_exercise, measure_bias, set_exercises
from medvqa.records import Agent
from medvqa.sessions import Session, begin_session


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    path = write(tmp_path / "Doe^Jane.dcm", image())
    closed = [("Is there a mass?", answer, "closed", ()) for answer in ("yes", "No.") * 10]
    opened = [
        ("Where is it?", answer, "open", ("top left",)) for answer in ("upper left", "lower right") * 10
    ]
    return [
        Case(
            image=path,
            question=f"{question} {number}",
            answer=answer,
            answer_type="closed" if kind == "closed" else "open",
            kind=kind,
            group="one",
            also=also if answer == "upper left" else (),
        )
        for number, (question, answer, kind, also) in enumerate(closed + opened)
    ]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Log(f"sqlite:///{tmp_path / 'trail.sqlite'}") as log:
        yield begin_session(log, Agent(name="ada"), key_folder=tmp_path / "keys")


def test_what_is_planted_is_wrong_and_what_is_not_is_right(cases: list[Case]) -> None:
    exercises = set_exercises(cases, reader="ada")
    assert sorted(one.case.question for one in exercises) == sorted(case.question for case in cases)
    planted = [one for one in exercises if one.planted]
    assert 8 <= len(planted) <= 24
    for one in exercises:
        right = {one.case.answer.strip(" .").lower(), *one.case.also}
        assert (one.shown.strip(" .").lower() in right) is not one.planted
        if one.case.kind == "closed":
            assert one.shown.strip(" .").lower() in ("yes", "no")


def test_each_reader_has_an_own_draw_which_stays(cases: list[Case]) -> None:
    def draw(reader: str) -> list[tuple[str, bool]]:
        return [(one.case.question, one.planted) for one in set_exercises(cases, reader=reader)]

    assert draw("ada") == draw("ada")
    assert draw("ada") != draw("bob")
    assert dict(draw("ada")) != dict(draw("bob"))


def test_a_case_without_another_answer_is_shown_as_it_is(cases: list[Case]) -> None:
    alone = [case for case in cases if case.answer == "lower right"]
    assert not any(one.planted for one in set_exercises(alone, reader="ada"))


def test_what_a_reader_made_of_it_is_recorded_without_file_names(session: Session, cases: list[Case]) -> None:
    exercise = set_exercises(cases, reader="ada")[0]
    with pytest.raises(ReviewError, match="in a text"):
        commit_exercise(session, exercise, verdict="reject")
    commit_exercise(session, exercise, verdict="reject", text="blurred", seconds=3.5)
    (event,) = session.log.read(Filter(action="practice"))
    assert (event.subject, event.verdict) == (exercise.name, "reject")
    assert event.entity == {
        "question": exercise.case.question,
        "shown": exercise.shown,
        "right": exercise.case.answer,
        "planted": exercise.planted,
        "text": "blurred",
        "seconds": 3.5,
    }
    assert "Doe" not in str(event)


def test_bias_is_the_share_of_planted_answers_that_were_followed(session: Session, cases: list[Case]) -> None:
    assert measure_bias([]) == Bias(planted=0, followed=None, right=0, distrusted=None)
    exercises = set_exercises(cases, reader="ada")
    wrong = [one for one in exercises if one.planted][:4]
    right = [one for one in exercises if not one.planted][:5]
    for one in (*wrong[:3], *right[:4]):
        commit_exercise(session, one, verdict="agree")
    for one in (wrong[3], right[4]):
        commit_exercise(session, one, verdict="amend", text="something else")
    commit_exercise(session, wrong[0], verdict="reject", text="too late: it was revealed")
    measured = measure_bias(session.log.read(Filter(action="practice")))
    assert measured == Bias(planted=4, followed=0.75, right=5, distrusted=pytest.approx(0.2))
