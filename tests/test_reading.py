"""First reads, reviews, signatures, addenda: bound to an answer, or refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from command_line import run_medvqa
from tiny_models import IDENTITY, noise

from audit import Filter, Log
from medvqa import records
from medvqa.errors import RecordError, ReviewError
from medvqa.models.base import Generation
from medvqa.reading.first_reads import commit_first_read
from medvqa.reading.reviews import review
from medvqa.reading.signatures import add_addendum, sign
from medvqa.reading.stories import read_stories, read_story
from medvqa.reading.texts import MAX_TEXT_CHARACTERS
from medvqa.records import Agent, Outcome, Request, record
from medvqa.sessions import Session, begin_session
from medvqa.types import Checks, Token

ANSWER_ID = "0b5e7a52-7c4f-4b0e-8b8e-0f3c2d1a9e77"
CHECKS = Checks(
    confidence=0.5,
    confidence_calibrated=False,
    token_probability=0.5,
    abstains=False,
    image_reliance=1.0,
    image_effect=1.5,
    wording_effect=0.1,
    log_likelihood=-0.7,
    log_likelihood_blanked=-1.7,
    log_likelihoods_others=(-2.2,),
    paraphrases=("Can you see a tumor?",),
    log_likelihoods_paraphrased=(-0.8,),
    verdict="grounded",
)


@pytest.fixture(autouse=True)
def place(own_place: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    monkeypatch.setenv("MEDVQA_AGENT", "dr-18")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """With one answer, made by a model that there is not, about a patient with a pseudonym."""
    with Log(f"sqlite:///{tmp_path / 'trail.sqlite'}", busy_timeout_s=0.2) as log:
        begun = begin_session(log, Agent(name="dr-17", role="radiologist"), key_folder=tmp_path / "keys")
        give_answer(begun, ANSWER_ID, CHECKS)
        yield begun


def give_answer(session: Session, answer_id: str, checks: Checks) -> None:
    request = Request(answer_id=answer_id, patient="P-A", image=noise(), question="Why?", model=IDENTITY)
    said = Generation(text="yes", tokens=(Token(text="yes", log_probability=-0.7),), token_ids=(7,))
    came = Outcome(generation=said, checks=checks, heatmap=None, warnings=())
    record(session.log, records.ask(session.agent, request, heatmap=None))
    record(session.log, records.answer(session.agent, request, came))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Exit code, and what was printed anywhere."""

    def medvqa(*arguments: str) -> tuple[int, str]:
        code, said = run_medvqa(*arguments), capsys.readouterr()
        return code, said.out + said.err

    return medvqa


def story(session: Session) -> list[str]:
    return [event.action for event in session.log.read(Filter(subject=ANSWER_ID))]


@pytest.mark.parametrize(
    ("verdict", "text"), [("agree", None), ("amend", "left lower lobe"), ("reject", "no")]
)
def test_a_review_is_bound_to_the_answer(session: Session, verdict: Any, text: str | None) -> None:
    event = review(session, ANSWER_ID, verdict=verdict, text=text, seconds=12.5)
    (answered,) = session.log.read(Filter(action="answer"))
    assert (event.action, event.verdict, event.agent, event.role) == (
        "review",
        verdict,
        "dr-17",
        "radiologist",
    )
    assert (event.subject, event.study, event.patient, event.model) == (
        *(ANSWER_ID, answered.study),
        *("P-A", answered.model),
    )
    assert event.entity == {
        "answer": {"sequence": answered.sequence, "hash": answered.hash},
        "reviewer": "dr-17",
        "text": text,
        "seconds": 12.5,
    }
    disputed = [one.subject for one in session.log.read(Filter(action="answer", disputed=True))]
    assert disputed == ([] if verdict == "agree" else [ANSWER_ID])


def test_a_signature_states_name_time_and_meaning_and_is_bound_to_the_last_review(session: Session) -> None:
    review(session, ANSWER_ID, verdict="reject", text="no")
    last = review(session, ANSWER_ID, verdict="agree")
    event = sign(session, ANSWER_ID, meaning=" reviewed and approved ", signer="Dr. Ada Example")
    assert (event.action, event.subject, event.study, event.patient) == (
        *("sign", ANSWER_ID),
        *(last.study, "P-A"),
    )
    assert event.recorded.utcoffset() is not None
    assert event.entity == {
        "answer": last.entity["answer"],
        "signer": "Dr. Ada Example",
        "meaning": "reviewed and approved",
        "review": {"sequence": last.sequence, "hash": last.hash, "verdict": "agree"},
    }
    assert session.log.verify().intact


@pytest.mark.parametrize("answer_id", ["", "1", "\udcff", "\0", "0b5e7a52"])
def test_what_was_never_answered_is_neither_reviewed_nor_signed(session: Session, answer_id: str) -> None:
    before = session.log.size()
    with pytest.raises(ReviewError, match="no answer of that id"):
        review(session, answer_id, verdict="agree")
    with pytest.raises(ReviewError, match="no answer of that id"):
        sign(session, answer_id, meaning="approved")
    assert session.log.size() == before


def test_a_question_that_got_no_answer_is_not_reviewed(session: Session) -> None:
    request = Request(answer_id="other", patient=None, image=noise(), question="Why?", model=IDENTITY)
    record(session.log, records.fail(session.agent, request, RuntimeError()))
    record(session.log, records.refuse(session.agent, request, reason="blank"))
    with pytest.raises(ReviewError, match="no answer of that id"):
        review(session, "other", verdict="agree")


def test_nothing_is_signed_before_it_was_reviewed(session: Session) -> None:
    with pytest.raises(ReviewError, match="not reviewed yet"):
        sign(session, ANSWER_ID, meaning="approved")
    assert story(session) == ["ask", "answer"]


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"verdict": "amend"}, "to amend an answer"),
        ({"verdict": "reject", "text": " \n"}, "to reject an answer"),
        ({"verdict": "maybe"}, "agree, amend or reject"),
        ({"verdict": "agree", "text": "x" * (MAX_TEXT_CHARACTERS + 1)}, "shorten it"),
    ],
)
def test_a_review_that_says_too_little_or_too_much(session: Session, given: Any, part: str) -> None:
    with pytest.raises(ReviewError, match=part):
        review(session, ANSWER_ID, **given)
    assert story(session) == ["ask", "answer"]


def test_a_signature_needs_a_meaning(session: Session) -> None:
    review(session, ANSWER_ID, verdict="agree")
    with pytest.raises(ReviewError, match="needs a meaning"):
        sign(session, ANSWER_ID, meaning="  ")


@pytest.mark.parametrize("given", [{"text": "NUL \0"}, {"seconds": float("nan")}])
def test_what_the_trail_does_not_take_is_not_reviewed(session: Session, given: Any) -> None:
    with pytest.raises(RecordError, match="withheld because it could not be recorded"):
        review(session, ANSWER_ID, verdict="agree", **given)
    assert story(session) == ["ask", "answer"]


def test_an_answer_comes_from_unread_to_signed_and_beyond(session: Session) -> None:
    def where() -> tuple[str, str, str | None]:
        told = read_story(session.log, ANSWER_ID)
        return told.state, told.status, told.text

    assert where() == ("unread", "preliminary", "yes")
    commit_first_read(session, ANSWER_ID, text="no", seconds=4.0)
    assert where() == ("in_review", "preliminary", "yes")
    review(session, ANSWER_ID, verdict="reject", text="another patient's")
    assert where() == ("rejected", "preliminary", None)
    review(session, ANSWER_ID, verdict="amend", text="yes, on the left")
    assert where() == ("corrected", "preliminary", "yes, on the left")
    review(session, ANSWER_ID, verdict="agree")
    assert where() == ("accepted", "preliminary", "yes")
    sign(session, ANSWER_ID, meaning="approved")
    assert where() == ("signed", "final", "yes")
    add_addendum(session, ANSWER_ID, text="unchanged in May")
    assert where() == ("addendum", "amended", "yes")


def test_nothing_signed_is_overwritten(session: Session) -> None:
    review(session, ANSWER_ID, verdict="amend", text="left")
    signed = sign(session, ANSWER_ID, meaning="approved")
    with pytest.raises(ReviewError, match="stays as it is; add an addendum"):
        review(session, ANSWER_ID, verdict="reject", text="no")
    added = add_addendum(session, ANSWER_ID, text=" right, after all ")
    assert added.entity["text"] == "right, after all"
    assert added.entity["signature"] == {"sequence": signed.sequence, "hash": signed.hash}
    assert read_story(session.log, ANSWER_ID).text == "left"


def test_an_addendum_needs_a_text_and_a_signature(session: Session) -> None:
    with pytest.raises(ReviewError, match="not signed yet"):
        add_addendum(session, ANSWER_ID, text="more")
    review(session, ANSWER_ID, verdict="agree")
    sign(session, ANSWER_ID, meaning="approved")
    with pytest.raises(ReviewError, match="needs a text"):
        add_addendum(session, ANSWER_ID, text=" ")


@pytest.mark.parametrize("verdict", ["image_blind", "fragile"])
def test_what_the_image_did_not_decide_is_not_signed_as_it_is(session: Session, verdict: Any) -> None:
    give_answer(session, "doubtful", replace(CHECKS, verdict=verdict))
    review(session, "doubtful", verdict="agree")
    with pytest.raises(ReviewError, match=f"{verdict}: amend or reject it"):
        sign(session, "doubtful", meaning="approved")
    review(session, "doubtful", verdict="amend", text="no")
    assert sign(session, "doubtful", meaning="approved").action == "sign"


@pytest.mark.parametrize(("text", "skipped"), [("no", False), (None, True), ("  ", True)])
def test_a_first_read_is_recorded_whether_it_was_made_or_skipped(
    session: Session, text: str | None, skipped: bool
) -> None:
    event = commit_first_read(session, ANSWER_ID, text=text, seconds=3.5)
    assert (event.action, event.entity["skipped"], event.entity["seconds"]) == ("first_read", skipped, 3.5)


def test_stories_of_a_study_are_told_apart(session: Session) -> None:
    give_answer(session, "second", CHECKS)
    review(session, "second", verdict="agree")
    (study,) = {event.study for event in session.log.read(Filter(action="answer"))}
    assert study is not None
    told = read_stories(session.log, study=study)
    assert [(one.answer_id, one.state) for one in told] == [(ANSWER_ID, "unread"), ("second", "accepted")]


def test_on_the_command_line(session: Session, run: Callable[..., tuple[int, str]]) -> None:
    assert run("sign", ANSWER_ID, "--meaning", "approved")[0] == 10
    code, said = run("review", ANSWER_ID, "--verdict", "amend", "--text", "left lower lobe")
    assert (code, "amend: recorded as row" in said, "dr-18" in said) == (0, True, True)
    code, said = run("sign", ANSWER_ID, "--meaning", "approved", "--signer", "Dr. Ada Example")
    assert (code, "signed: recorded as row" in said) == (0, True)
    code, said = run("addendum", ANSWER_ID, "--text", "seen again")
    assert (code, "added: recorded as row" in said) == (0, True)
    assert story(session) == ["ask", "answer", "review", "sign", "addendum"]
    events = list(session.log.read(Filter(agent="dr-18")))
    assert {event.action for event in events} == {"configure", "review", "sign", "addendum"}
    assert {name for event in events for name in asdict(event)} >= {"recorded", "entity"}


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["review", "nothing", "--verdict", "agree"], 10, "no answer of that id"),
        (["review", ANSWER_ID, "--verdict", "amend"], 10, "say in a text"),
        (["review", ANSWER_ID, "--verdict", "perhaps"], 2, "is not one of agree, amend, reject"),
        (["review", ANSWER_ID], 2, "--verdict"),
        (["sign", ANSWER_ID], 2, "--meaning"),
        (["addendum", ANSWER_ID, "--text", "more"], 10, "not signed yet"),
        (["sign", ANSWER_ID, "--meaning", "x", "--audit", "nowhere.sqlite"], 7, "no audit trail"),
    ],
)
@pytest.mark.usefixtures("session")
def test_a_wrong_command_ends_in_one_sentence(
    run: Callable[..., tuple[int, str]], arguments: list[str], code: int, part: str
) -> None:
    ended, said = run(*arguments)
    assert ended == code, said
    assert part in said
    assert "Traceback" not in said
    assert not Path("nowhere.sqlite").exists()
