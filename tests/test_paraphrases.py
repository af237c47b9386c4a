"""Paraphrases change the form of a question and nothing that it asks for."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvqa.checks.paraphrases import COUNT, paraphrase
from medvqa.prompts import clean_question
from medvqa.training.questions import every_text

MEANT = re.compile(
    r"\b(?:left|right|upper|lower|no|not|without|nodule|mass|tumou?r|pneumonia|glioma|meningioma|benign|"
    r"malignant|normal|abnormal|lesion|modality|organ|liver|brain|chest|breast)\b"
)


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("Is there a nodule?", "Can you see a nodule?"),
        ("are there nodules in the left lung", "Can you see nodules in the left lung?"),
        ("Can you see a mass in this brain MRI?", "Does this brain MRI show a mass?"),
        ("Does this chest film show pneumonia?", "Can you see pneumonia in this chest film?"),
        ("Is a nodule shown on the left?", "Can you see a nodule on the left?"),
        ("Where is the nodule?", "In which part of the image is the nodule?"),
        ("Where are the masses in this scan?", "In which part of this scan are the masses?"),
        ("Locate the nodule.", "In which part of the image is the nodule?"),
        ("Which organ is shown?", "What organ is shown?"),
        ("On what side is the nodule?", "On which side is the nodule?"),
        ("What is shown?", "What is visible?"),
    ],
)
def test_questions_of_known_form_are_put_in_another(question: str, first: str) -> None:
    assert paraphrase(question)[0] == first


@pytest.mark.parametrize(
    "question",
    [
        "Is there no tumor?",
        "Isn\u2019t a mass visible?",
        "Is there a tumor without oedema?",
        "He fell. Is there a fracture?",
        "Which of the lungs is affected?",
        "Where is this image from?",
        "Is the heart enlarged?",
        "MRI or CT?",
    ],
)
def test_what_a_rule_might_distort_keeps_its_words_in_order(question: str) -> None:
    for wording in paraphrase(question):
        assert question.rstrip("?").lower() in wording.lower()


def test_an_abbreviation_keeps_its_letters() -> None:
    assert all("MRI" in wording for wording in paraphrase("MRI or CT?"))


@pytest.mark.slow
def test_what_is_asked_for_stays(subtests: pytest.Subtests) -> None:
    for question in every_text(np.random.default_rng(0), count=600):
        with subtests.test(question):
            meant = sorted(set(MEANT.findall(question.lower())))
            for wording in paraphrase(clean_question(question)):
                assert sorted(set(MEANT.findall(wording.lower()))) == meant


@given(st.text(min_size=1, max_size=80))
def test_any_question_has_paraphrases_that_differ(text: str) -> None:
    question = " ".join(text.split())
    if question:
        wordings = paraphrase(question)
        assert len({*wordings, question}) == COUNT + 1
        assert wordings == paraphrase(question)
        assert all(wording.strip() for wording in wordings)
