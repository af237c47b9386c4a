"""Training asks what the picture answers, in many words, and never in those kept for measuring."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvqa.simulation import Finding, Organ
from medvqa.training.phrasing import held_out, phrase, word
from medvqa.training.questions import (
    CANNOT_TELL,
    NORMAL,
    SIMULATED,
    Asked,
    Content,
    ask_everything,
    could_hide,
    every_text,
)
from medvqa.training.wordings import chinese, english, unanswerable
from medvqa.training.wordings.written import read_wordings

FINDINGS: dict[Organ, tuple[str, ...]] = {
    "brain": ("glioma", "meningioma", "pituitary tumor", "no tumor"),
    "chest": ("pneumonia", "no finding"),
    "breast": ("benign", "malignant", "normal"),
}
SOURCES = [*english.WORDINGS, "unanswerable"]
LABELLED = [(organ, finding) for organ, findings in FINDINGS.items() for finding in (*findings, None)]


def content(organ: Organ, finding: str | None, *, simulated: str | None = None) -> Content:
    placed = None
    if simulated is not None:
        placed = Finding(kind=simulated, row=20, column=90, size=12, contrast=0.4, seed=0)
    return Content(organ=organ, finding=finding, simulated=placed, shape=(128, 128))


def asked_often(known: Content, *, times: int = 60, **how: object) -> list[Asked]:
    rng = np.random.default_rng(0)
    return [one for _ in range(times) for one in ask_everything(known, rng, **how)]


def plain(text: str) -> str:
    return re.sub(r"\W+", " ", text.casefold()).strip()


def filled(wording: str) -> re.Pattern[str]:
    """Matches the wording whatever stands in its slots."""
    parts = re.split(r"\{\w+\}", wording.casefold())
    return re.compile(r"[\w' -]+?".join(re.escape(part) for part in parts))


@pytest.mark.parametrize("source", SOURCES)
def test_no_wording_kept_for_measuring_is_trained_on(source: str) -> None:
    for wording in read_wordings(source, "held_out"):
        assert wording.casefold() not in {one.casefold() for one in english.WORDINGS.get(source, ())}
        assert plain(wording) not in {plain(one) for one in read_wordings(source)}
    rng = np.random.default_rng(1)
    trained = {plain(word(source, rng, organ="brain") or "") for _ in range(500)}
    if source == "unanswerable":
        trained = {plain(phrase(one, rng, organ="brain")) for one in unanswerable.WORDINGS for _ in range(20)}
    for organ in FINDINGS:
        for _ in range(40):
            question = held_out(source, rng, organ=organ)
            assert question is not None
            assert plain(question) not in trained


@pytest.mark.parametrize(("organ", "finding"), LABELLED)
def test_every_question_has_the_answer_of_its_picture(organ: Organ, finding: str | None) -> None:
    found = asked_often(content(organ, finding))
    for one in found:
        if one.kind == "organ":
            assert one.answer == organ
        if one.kind == f"{organ}_finding":
            assert one.answer == finding
        if one.kind == "unanswerable":
            assert one.answer == CANNOT_TELL
        if one.kind == "abnormality" and one.answer in ("normal", "abnormal"):
            assert (one.answer == "normal") == (finding in NORMAL)
    kinds = {one.kind for one in found}
    assert (finding is None) == (f"{organ}_finding" not in kinds)
    assert {"modality", "organ", "simulated_present", "description", "two_part", "unanswerable"} <= kinds


@pytest.mark.parametrize("kind", SIMULATED)
def test_a_simulated_finding_is_asked_for_by_its_name_and_others_are_denied(kind: str) -> None:
    called = "|".join(english.FINDINGS[kind])
    for one in asked_often(content("chest", None, simulated=kind)):
        about = bool(re.search(rf"\b(?:{called})\b", one.question.lower()))
        if one.kind == "simulated_quadrant" and about:
            assert one.answer == "upper right quadrant"
        if one.kind == "simulated_side" and about:
            assert one.answer == "right side of the image"
        if one.answer.startswith("there is no"):
            assert one.answer != f"there is no {kind}"
        if one.kind == "description":
            assert one.answer.endswith(f"{kind} in the upper right quadrant.")


def test_a_negated_question_has_the_opposite_answer() -> None:
    answers = {
        plain(one.question): one.answer
        for one in asked_often(content("brain", "no tumor"), times=800)
        if one.kind == "finding_present"
    }
    absent = {question: answer for question, answer in answers.items() if "brain free of" in question}
    present = {question: answer for question, answer in answers.items() if "do you see a" in question}
    assert set(absent.values()) == {"yes"}
    assert set(present.values()) == {"no"}


@pytest.mark.parametrize(("organ", "finding"), LABELLED)
def test_what_a_disease_may_look_like_is_never_denied(organ: Organ, finding: str | None) -> None:
    known = content(organ, finding)
    hidden = [name for kind in SIMULATED if could_hide(known, kind) for name in english.FINDINGS[kind]]
    for one in asked_often(known):
        if one.kind == "simulated_present":
            assert not any(re.search(rf"\b{name}\b", one.question.lower()) for name in hidden)


@pytest.mark.parametrize(("organ", "finding"), LABELLED)
def test_chinese_is_answered_in_chinese(organ: Organ, finding: str | None) -> None:
    for one in asked_often(content(organ, finding), times=20, language="zh"):
        assert re.search(r"[\u4e00-\u9fff]", one.question)
        assert re.search(r"[\u4e00-\u9fff]", one.answer)
        assert not re.search(r"[a-z]{2}", one.answer)


def test_every_chinese_answer_and_wording_has_an_english_one() -> None:
    assert chinese.WORDINGS.keys() - {"unanswerable"} <= english.WORDINGS.keys()
    assert chinese.FINDINGS.keys() == english.FINDINGS.keys() == set(SIMULATED)


@pytest.mark.parametrize(("folder", "fewest"), [("en", 35), ("held_out", 7)])
@pytest.mark.parametrize("source", SOURCES)
def test_written_wordings_are_whole_and_none_stands_twice(
    source: str, folder: Literal["en", "held_out"], fewest: int
) -> None:
    lines = read_wordings(source, folder)
    assert len(lines) >= fewest
    assert len({plain(line) for line in lines}) == len(lines)
    for line in lines:
        assert line == line.strip()
        assert len(re.findall(r"\{nodules?\}", line)) == ("nodule" in source)
        assert set(re.findall(r"\{\w+\}", line)) <= {"{nodule}", "{nodules}"}


@pytest.mark.parametrize(
    "source", [name for name in chinese.WORDINGS if not name.startswith("two_part") and "absent" not in name]
)
def test_written_chinese_is_chinese_and_none_stands_twice(source: str) -> None:
    lines = read_wordings(source, "zh")
    assert len(lines) >= 30
    assert len({re.sub(r"\W", "", line) for line in lines}) == len(lines)
    for line in lines:
        assert re.search(r"[\u4e00-\u9fff]", line.replace("{nodule}", "结节"))
        assert len(re.findall(r"\{nodule\}", line)) == ("nodule" in source)


@given(st.integers(0, 2**32), st.sampled_from(sorted(english.WORDINGS)), st.sampled_from(sorted(FINDINGS)))
def test_every_wording_is_filled(seed: int, source: str, organ: Organ) -> None:
    question = word(source, np.random.default_rng(seed), organ=organ) or ""
    assert question.strip()
    assert not re.search(r"\{\w+\}|\ba (?=[aei])|\s\s", question)


@pytest.mark.parametrize("organ", FINDINGS)
def test_organs_elsewhere_are_not_in_the_picture(organ: Organ) -> None:
    regions = unanswerable.elsewhere(organ)
    assert len(regions) > 80
    assert not any(re.search(rf"\b{organ}\b", region) for region in regions)


def test_the_tokenizers_texts_repeat_by_their_seed_and_hold_both_languages() -> None:
    first, second = (every_text(np.random.default_rng(3), count=50) for _ in range(2))
    assert first == second
    assert set(chinese.SAYINGS.values()) <= set(first)
