"""Definitions of a right answer: what each counts, and that none is fooled by a piece of a word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvqa.evaluation.metrics import (
    MARKS,
    bleu,
    compare_tokens,
    is_refusal,
    mark,
    mark_best,
    matches,
    normalise,
    parse_yes_no,
    read_yes_no,
    tokens_of,
)

WORDS = st.lists(
    st.sampled_from(["left", "right", "lung", "nodule", "no", "yes", "the", "upper", "x-ray", "two"]),
    max_size=8,
)
TEXTS = st.one_of(st.text(max_size=30), WORDS.map(" ".join))


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("yes", "yes"),
        ("Yes, there is a nodule.", "yes"),
        ("no", "no"),
        ("No.", "no"),
        ("there is no nodule", "no"),
        ("the answer is: no", "no"),
        ("unknown", None),
        ("nodule", None),
        ("normal", None),
        ("no-contrast CT", None),
        ("non-contrast", None),
        ("eyes", None),
        ("yes and no", None),
        ("no/yes", None),
        ("not seen", "no"),
        ("A nodule is not clearly visible", "no"),
        ("a nodule is seen", "yes"),
        ("cannot be determined from this image", None),
        ("no — nothing", "no"),
        ("", None),
        ("是", "yes"),
        ("是的，有结节", "yes"),
        ("有", "yes"),
        ("没有", "no"),
        ("否", "no"),
        ("不是", "no"),
        ("未见结节", "no"),
        ("有没有", None),
        ("是否", None),
        ("无法判断", None),
        ("结节", None),
    ],
)
def test_yes_and_no_are_read_as_whole_words(said: str, meant: str | None) -> None:
    assert parse_yes_no(said) == meant


@pytest.mark.parametrize(
    "said",
    [
        "cannot be determined from this image",
        "I can't tell",
        "I can\u2019t tell.",
        "This cannot be reliably determined",
        "It is impossible to say",
        "Unable to determine the age",
        "I don't know",
        "Not enough information",
        "unknown",
        "The image does not tell",
        "无法从图像中判断",
        "不知道",
    ],
)
def test_refusals_are_known_in_several_wordings(said: str) -> None:
    assert is_refusal(said)


@pytest.mark.parametrize(
    "said",
    [
        "no",
        "there is no nodule",
        "glioma",
        "yes, although its size cannot be determined",
        "unknown primary tumor with metastasis",
        "the nodule cannot be seen",
        "normal",
        "没有",
    ],
)
def test_answers_are_no_refusals(said: str) -> None:
    assert not is_refusal(said)


def test_exact_match_is_strict_but_for_case_outer_spaces_and_full_stop() -> None:
    assert matches(" Glioma. ", "glioma")
    assert not matches("a glioma", "glioma")
    assert not matches("pituitary tumour", "pituitary tumor")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The  Pituitary tumour!", "pituitary tumor"),
        ("two lesions", "2 lesions"),
        ("X ray", "x-ray"),
        ("Xray", "X-ray"),
        ("1,200 ml", "1200 ml"),
        ("left-sided", "left sided"),
        ("ＭＲＩ", "mri"),
    ],
)
def test_normalising_leaves_what_matters(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


def test_normalising_keeps_an_answer_that_is_an_article_and_decimals_apart() -> None:
    assert normalise("A") == "a"
    assert normalise("1.5 cm") != normalise("15 cm")
    assert normalise("no tumor") != normalise("tumor")


def test_chinese_tokens_are_characters() -> None:
    assert tokens_of("左肺。") == ("左", "肺")
    recall, f1 = compare_tokens(tokens_of("左肺上叶"), tokens_of("左肺"))
    assert (recall, f1) == (1, pytest.approx(4 / 6))


def test_recall_and_f1_count_words_as_often_as_they_stand() -> None:
    recall, f1 = compare_tokens(("left", "lung", "left"), ("left", "left", "lobe"))
    assert (recall, f1) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert compare_tokens(("no",) * 50, ("no", "tumor"))[1] < 0.1


def test_bleu_agrees_with_a_count_by_hand() -> None:
    # Words 3 of 4, pairs (1 + 1) / (3 + 1), triples (0 + 1) / (2 + 1), fours (0 + 1) / (1 + 1); as long.
    said, right = ["left", "upper", "lobe", "nodule"], ["left", "upper", "lung", "nodule"]
    assert bleu(said, right) == pytest.approx((0.75 * 0.5 * (1 / 3) * 0.5) ** 0.25)
    assert bleu(["left"], ["left", "lung"]) == pytest.approx(2.718281828**-1)
    assert bleu(["glioma"], ["glioma"]) == 1
    assert bleu(["pneumonia"], ["glioma"]) == 0


def test_the_two_definitions_of_closed_part() -> None:
    side = mark("left", "left", "closed")
    assert (side["closed_by_type"], side["closed_by_yes_no"], side["open_f1"]) == (1, None, None)
    typed_open = mark("yes, a small one", "yes", "open")
    assert (typed_open["closed_by_type"], typed_open["closed_by_yes_no"]) == (None, 1)
    assert typed_open["open_recall"] == 1
    assert typed_open["exact_match"] == 0
    assert mark("unknown", "no", "closed")["closed_by_yes_no"] == 0
    assert mark("没有", "无", "closed")["closed_by_type"] == 1


def test_only_a_bare_yes_or_no_is_one_as_an_answer() -> None:
    assert [read_yes_no(text) for text in ("Yes", "no.", "没有", "no tumor", "there is no nodule", "")] == [
        *("yes", "no", "no"),
        *(None, None, None),
    ]


@given(TEXTS)
def test_the_right_answer_has_full_marks(text: str) -> None:
    for answer_type in ("open", "closed"):
        marks = mark(text, text, answer_type)
        assert tuple(marks) == MARKS
        assert all(value in (None, 1) or value == pytest.approx(1) for value in marks.values())


@given(TEXTS, TEXTS)
def test_marks_stay_between_nothing_and_all(said: str, right: str) -> None:
    marks = mark(said, right, "open")
    assert all(value is None or 0 <= value <= 1 + 1e-9 for value in marks.values())
    if marks["exact_match"]:
        assert marks["normalised_match"]


@given(TEXTS)
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12))
def test_a_word_is_no_answer_for_a_piece_of_it(word: str) -> None:
    if word not in ("yes", "no", "yeah", "yep", "nope"):
        assert parse_yes_no(word) is None


def test_the_best_of_several_right_answers_counts_for_each_figure() -> None:
    found = mark_best("axial plane", ("axial", "axial plane", "in the axial plane"), "open")
    assert found["exact_match"] == 1
    assert found["token_recall"] == 1
    assert found["closed_by_yes_no"] is None
    assert mark_best("yes", ("no",), "closed")["closed_by_yes_no"] == 0
    assert mark_best("red", ("blue",), "open") == mark("red", "blue", "open")
