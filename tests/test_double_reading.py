"""Two readers apart from each other, and a third where they differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from test_reading import ANSWER_ID, CHECKS, give_answer

from audit import Log
from medvqa.errors import ReviewError
from medvqa.reading.double_reading import disagree, readings, veil
from medvqa.reading.reviews import review
from medvqa.reading.signatures import sign
from medvqa.reading.stories import Story, read_story
from medvqa.records import Agent
from medvqa.sessions import Session, begin_session
from medvqa.types import ReviewVerdict


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Log(f"sqlite:///{tmp_path / 'trail.sqlite'}") as log:
        begun = begin_session(log, Agent(name="ada"), key_folder=tmp_path / "keys")
        give_answer(begun, ANSWER_ID, CHECKS)
        yield begun


def read(session: Session, reader: str, verdict: ReviewVerdict, text: str | None = None) -> Story:
    review(replace(session, agent=Agent(name=reader)), ANSWER_ID, verdict=verdict, text=text)
    return read_story(session.log, ANSWER_ID)


def test_the_second_reader_sees_nothing_of_the_first_until_both_are_in(session: Session) -> None:
    story = read(session, "ada", "reject", "no")
    assert veil(story, "ada") == story
    assert veil(story, "bob").reviews == ()
    assert veil(story, "bob").state == "unread"
    story = read(session, "bob", "agree")
    assert veil(story, "bob") == veil(story, "carol") == story


@pytest.mark.parametrize(
    ("first", "second", "differ"),
    [
        (("agree", None), ("agree", "a remark"), False),
        (("agree", None), ("reject", "no"), True),
        (("amend", "left  Lower lobe"), ("amend", "Left lower lobe"), False),
        (("amend", "left lower lobe"), ("amend", "right lower lobe"), True),
        (("reject", "blurred"), ("reject", "wrong"), False),
    ],
)
def test_readers_differ_by_verdict_or_by_what_they_write_in_place(
    session: Session,
    first: tuple[ReviewVerdict, str | None],
    second: tuple[ReviewVerdict, str | None],
    differ: bool,
) -> None:
    assert not disagree(read(session, "ada", *first))
    assert disagree(read(session, "bob", *second)) is differ


def test_it_is_signed_after_two_and_where_they_differ_after_a_third(session: Session) -> None:
    def signs() -> None:
        sign(session, ANSWER_ID, meaning="reviewed", double_reading=True)

    read(session, "ada", "agree")
    read(session, "ada", "agree")  # one person twice is one reader
    with pytest.raises(ReviewError, match="another person"):
        signs()
    read(session, "bob", "reject", "no")
    with pytest.raises(ReviewError, match="a third one"):
        signs()
    story = read(session, "carol", "reject", "not there")
    assert not disagree(story)
    assert disagree(read(session, "ada", "agree"))  # who gave cause has not the last word
    read(session, "carol", "reject", "still not there")
    signs()
    assert [event.entity["reviewer"] for event in readings(read_story(session.log, ANSWER_ID))] == [
        "ada",
        "bob",
        "carol",
    ]


def test_whoever_comes_round_ends_the_disagreement(session: Session) -> None:
    read(session, "ada", "agree")
    read(session, "bob", "reject", "no")
    assert not disagree(read(session, "bob", "agree"))
    sign(session, ANSWER_ID, meaning="reviewed", double_reading=True)
