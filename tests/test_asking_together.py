"""Questions put together: the answers of each alone, recorded for each, one refused leaving the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit import Log
from audit.actions import Action
from medvqa.asking import Refusal
from medvqa.assistant import Assistant
from medvqa.inquiries import Inquiry, inquiries_of
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.question_sets import QuestionSet, SetQuestion
from medvqa.replay import replay_answer
from medvqa.simulated_study import write_simulated_study
from medvqa.stopping import stop
from medvqa.types import Answer

QUESTIONS = ("Is there a nodule in this image?", "Where is the nodule?", "Which organ is shown?")


@pytest.fixture
def assistant(default_model: HuggingFaceModel, tmp_path: Path) -> Assistant:
    log = Log(f"sqlite:///{tmp_path}/audit.sqlite")
    return Assistant(default_model, audit=log, key_folder=tmp_path / "keys", unfamiliar="warn")


def ask_set(assistant: Assistant, folder: Path, questions: tuple[str, ...]) -> list[Answer | Refusal]:
    study = assistant.open_study(folder)
    asked = QuestionSet(questions=tuple(SetQuestion(text=one, images="all") for one in questions))
    return assistant.ask_all(inquiries_of(asked, study))


def test_together_they_get_the_answers_of_each_alone(assistant: Assistant, tmp_path: Path) -> None:
    write_simulated_study(tmp_path / "study", seed=3)
    together = [one for one in ask_set(assistant, tmp_path / "study", QUESTIONS) if isinstance(one, Answer)]
    assert [one.question for one in together] == [*QUESTIONS] * 3
    study = assistant.open_study(tmp_path / "study")
    for place, one in enumerate(together):
        alone = assistant.ask(study, one.question, image_number=place // 3 + 1)
        assert (one.text, one.image, one.warnings) == (alone.text, alone.image, alone.warnings)
        assert one.checks.verdict == alone.checks.verdict
        assert one.checks.image_effect == pytest.approx(alone.checks.image_effect, abs=1e-4)
        assert one.checks.log_likelihoods_paraphrased == pytest.approx(
            alone.checks.log_likelihoods_paraphrased, abs=1e-4
        )


def test_each_is_recorded_before_and_after(assistant: Assistant, tmp_path: Path) -> None:
    write_simulated_study(tmp_path / "study", seed=3)
    together = ask_set(assistant, tmp_path / "study", QUESTIONS)
    events = list(assistant.audit.read())
    asked = [one.subject for one in events if one.action == Action.ASK]
    answered = {one.subject: one for one in events if one.action == Action.ANSWER}
    assert asked == [one.answer_id for one in together if isinstance(one, Answer)] == [*answered]
    # Two images a time: as many as the model keeps beside those it compares with.
    assert [one.entity["batch_size"] for one in answered.values()] == [6] * 6 + [3] * 3
    actions = [one.action for one in events if one.action in (Action.ASK, Action.ANSWER)]
    assert actions == [Action.ASK] * 6 + [Action.ANSWER] * 6 + [Action.ASK] * 3 + [Action.ANSWER] * 3


def test_one_that_is_refused_leaves_the_others_alone(assistant: Assistant, tmp_path: Path) -> None:
    write_simulated_study(tmp_path / "study", seed=3)
    study = assistant.open_study(tmp_path / "study")
    asked = [
        Inquiry(study=study, image_number=2, question=" "),
        Inquiry(study=study, question="Where is the nodule?", image_number=9),
        Inquiry(study=study, question="why " * 400, image_number=1),
        Inquiry(study=study, question="Where is the nodule?", image_number=2),
    ]
    *refused, answered = assistant.ask_all(asked)
    reasons = [one.reason for one in refused if isinstance(one, Refusal)]
    assert [part in reason for part, reason in zip(("empty", "not 9", "shorten"), reasons, strict=True)] == [
        True
    ] * 3
    assert isinstance(answered, Answer)
    assert answered.text


def test_a_question_that_the_model_cannot_read_is_refused_alone(assistant: Assistant, tmp_path: Path) -> None:
    write_simulated_study(tmp_path / "study", seed=3)
    study = assistant.open_study(tmp_path / "study")
    asked = [
        Inquiry(study=study, image_number=2, question=one) for one in ("Where is <image>?", "Where is it?")
    ]
    first, second = assistant.ask_all(asked)
    assert isinstance(first, Refusal)
    assert isinstance(second, Answer)
    refused = [event for event in assistant.audit.read() if event.action == Action.REFUSE]
    assert len(refused) == 1
    assert refused[0].outcome == "refused"


def test_a_stopped_study_is_refused_beside_another(assistant: Assistant, tmp_path: Path) -> None:
    studies = []
    for seed in (3, 4):
        write_simulated_study(tmp_path / str(seed), seed=seed)
        studies.append(assistant.open_study(tmp_path / str(seed)))
    stop(assistant.session, reason="wrong patient", study=studies[0].study_instance_uid)
    first, second = assistant.ask_all(
        [Inquiry(study=one, image_number=2, question=QUESTIONS[0]) for one in studies]
    )
    assert isinstance(first, Refusal)
    assert "wrong patient" in first.reason
    assert isinstance(second, Answer)


def test_nothing_asked_is_nothing_recorded(assistant: Assistant) -> None:
    before = assistant.audit.tree_head().size
    assert assistant.ask_all([]) == []
    assert assistant.audit.tree_head().size == before


def test_an_answer_given_with_others_is_replayed_within_rounding(
    assistant: Assistant, tmp_path: Path
) -> None:
    write_simulated_study(tmp_path / "study", seed=3)
    answers = ask_set(assistant, tmp_path / "study", QUESTIONS)
    replay = replay_answer(assistant.audit, str(answers[4].audit_id), tmp_path / "study")  # type: ignore[union-attr]
    assert replay.reproduced, replay.differences
