"""Asking, end to end: gate, answer, heatmap, checks, record; and nothing without a record."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.data
import pytest
from dicom_builder import CANARY, STUDY_UID, image, planted, write
from each_method import each_method
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo

from audit import Event, Filter, Log
from medvqa.assistant import Assistant
from medvqa.errors import DicomError, GateError, MedvqaError, PixelError, QuestionError, RecordError
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.study import read_study

MR = Path(pydicom.data.__file__).parent / "test_files" / "MR_small.dcm"
QUESTION = "Is there a tumor?"


def pixels(seed: int = 0, *, shape: tuple[int, ...] = (48, 40)) -> np.ndarray:
    return np.random.default_rng(seed).integers(-100, 300, shape).astype(np.int16)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with Log(f"sqlite:///{tmp_path / 'trail' / 'audit.sqlite'}", busy_timeout_s=0.2) as opened:
        yield opened


@pytest.fixture(autouse=True)
def folder_of_the_trail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trail").mkdir()
    monkeypatch.setenv("MEDVQA_AUDIT_URL", str(tmp_path / "trail" / "audit.sqlite"))


@pytest.fixture
def assistant(default_model: HuggingFaceModel, log: Log, tmp_path: Path) -> Assistant:
    return Assistant(default_model, audit=log, agent="dr-17", key_folder=tmp_path / "keys")


def actions(assistant: Assistant) -> list[str]:
    return [event.action for event in assistant.audit.read()]


def events(assistant: Assistant, action: str) -> list[Event]:
    return list(assistant.audit.read(Filter(action=action)))


def written(tmp_path: Path) -> bytes:
    return b"".join(path.read_bytes() for path in (tmp_path / "trail").iterdir())


@pytest.mark.parametrize("method", [None, *each_method()])
def test_an_answer_about_a_built_file(assistant: Assistant, tmp_path: Path, method: Any) -> None:
    study = read_study(write(tmp_path / "one.dcm", image(pixels())))
    answer = assistant.ask(study, "  Is there\na tumor? ", heatmap=method)
    assert answer.question == QUESTION
    assert answer.image.study_instance_uid == STUDY_UID
    (event,) = events(assistant, "answer")
    assert (answer.audit_id, answer.answer_id) == (event.sequence, event.subject)
    assert actions(assistant) == ["load_model", "ask", "answer", *(["explain"] if method else [])]
    assert answer.seconds > 0
    assert [notice.code for notice in answer.warnings] == ["unsupported_modality"]
    if method is None:
        assert answer.heatmap is None
    else:
        assert answer.heatmap.method == method
        assert answer.heatmap.values.shape == (48, 40)
    assert assistant.audit.verify().intact


def test_an_answer_about_a_real_mr_repeats(assistant: Assistant) -> None:
    study = read_study(MR)
    answers = [assistant.ask(study, QUESTION, heatmap="attention") for _ in range(2)]
    assert answers[0].text == answers[1].text
    assert answers[0].tokens == answers[1].tokens
    assert answers[0].checks == answers[1].checks
    assert (answers[0].heatmap.values == answers[1].heatmap.values).all()
    assert answers[0].answer_id != answers[1].answer_id
    assert [answer.audit_id for answer in answers] == [
        event.sequence for event in events(assistant, "answer")
    ]


@pytest.mark.parametrize(("count", "middle"), [(2, 2), (3, 2), (5, 3)])
def test_of_many_images_the_middle_one_is_asked_about_and_it_says_so(
    assistant: Assistant, tmp_path: Path, count: int, middle: int
) -> None:
    for number in range(1, count + 1):
        write(tmp_path / "study" / f"{number}.dcm", image(pixels(number), number=number))
    study = read_study(tmp_path / "study")
    answer = assistant.ask(study, QUESTION)
    assert answer.image == study.images[middle - 1].ref
    notice = next(notice for notice in answer.warnings if notice.code == "one_image_of_many")
    assert f"image {middle} of {count}" in notice.message
    named = assistant.ask(study, QUESTION, image_number=1)
    assert named.image == study.images[0].ref
    assert "one_image_of_many" not in {notice.code for notice in named.warnings}


@pytest.mark.parametrize("number", [0, -1, 2, 99])
def test_an_image_that_is_not_there(assistant: Assistant, number: int) -> None:
    with pytest.raises(DicomError, match=f"has images 1 to 1, not {number}"):
        assistant.ask(read_study(MR), QUESTION, image_number=number)
    assert actions(assistant) == ["load_model"]


@pytest.mark.parametrize("question", ["", "  ", "why " * 200])
def test_what_is_no_question_gets_no_answer_and_no_row(assistant: Assistant, question: str) -> None:
    with pytest.raises(QuestionError):
        assistant.ask(read_study(MR), question)
    assert actions(assistant) == ["load_model"]


def test_a_question_that_the_model_refuses_is_on_record_with_the_reason(assistant: Assistant) -> None:
    with pytest.raises(QuestionError) as caught:
        assistant.ask(read_study(MR), "what <image> is this?")
    asked, refused = list(assistant.audit.read())[1:]
    assert (asked.action, refused.action, refused.outcome) == ("ask", "refuse", "refused")
    assert refused.entity["reason"] == str(caught.value)
    assert asked.subject == refused.subject


def test_a_refusal_is_recorded_with_its_reason(assistant: Assistant, tmp_path: Path) -> None:
    study = read_study(write(tmp_path / "flat.dcm", image(np.full((48, 40), 7, dtype=np.int16))))
    with pytest.raises(GateError) as caught:
        assistant.ask(study, QUESTION)
    _, asked, event = assistant.audit.read()
    assert (event.agent, event.action, event.outcome) == ("dr-17", "refuse", "refused")
    assert (asked.action, asked.subject) == ("ask", event.subject)
    assert event.entity["reason"] == str(caught.value)
    assert event.entity["question"] == QUESTION
    assert event.entity["image"]["study_instance_uid"] == STUDY_UID
    assert "answer" not in event.entity
    assert assistant.audit.verify().intact


def test_no_answer_while_the_trail_is_locked(assistant: Assistant, tmp_path: Path) -> None:
    study = read_study(MR)
    connection = sqlite3.connect(tmp_path / "trail" / "audit.sqlite", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(RecordError, match="withheld because it could not be recorded"):
        assistant.ask(study, QUESTION)
    connection.execute("ROLLBACK")
    connection.close()
    assert actions(assistant) == ["load_model"]
    assert assistant.ask(study, QUESTION).audit_id == 3


def test_the_model_sees_no_question_that_was_not_recorded(
    assistant: Assistant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    generate = assistant.model.generate

    def watched(*given: Any) -> Any:
        seen.append(actions(assistant))
        return generate(*given)

    monkeypatch.setattr(assistant.model, "generate", watched)
    assistant.ask(read_study(MR), QUESTION)
    assert seen == [["load_model", "ask"]]
    drop_the_table(tmp_path)
    with pytest.raises(RecordError, match="withheld because it could not be recorded"):
        assistant.ask(read_study(MR), QUESTION)
    assert len(seen) == 1


def test_no_answer_once_the_trail_is_gone_in_between(
    assistant: Assistant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = assistant.model.generate

    def interrupted(*given: Any) -> Any:
        drop_the_table(tmp_path)
        return generate(*given)

    monkeypatch.setattr(assistant.model, "generate", interrupted)
    with pytest.raises(RecordError, match="withheld because it could not be recorded"):
        assistant.ask(read_study(MR), QUESTION)


def test_no_assistant_where_the_trail_is_only_read(
    assistant: Assistant, default_model: HuggingFaceModel, tmp_path: Path
) -> None:
    with (
        Log(f"sqlite:///file:{tmp_path / 'trail' / 'audit.sqlite'}?mode=ro&uri=true") as only_read,
        pytest.raises(RecordError, match="withheld because it could not be recorded"),
    ):
        Assistant(default_model, audit=only_read)
    assert actions(assistant) == ["load_model"]


def test_a_model_that_breaks_off_is_on_record_by_its_kind_of_error_alone(
    assistant: Assistant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(f"{CANARY} in the message")

    monkeypatch.setattr(assistant.model, "generate", broken)
    with pytest.raises(RuntimeError):
        assistant.ask(read_study(MR), QUESTION)
    failed = list(assistant.audit.read())[-1]
    assert (failed.action, failed.outcome, failed.verdict) == ("answer", "failed", None)
    assert failed.entity["error"] == "RuntimeError"
    assert "answer" not in failed.entity
    assert CANARY.encode() not in written(tmp_path)


def test_an_image_that_cannot_be_decoded_is_on_record_without_its_file(
    assistant: Assistant, tmp_path: Path
) -> None:
    cut = image(pixels())
    cut.PixelData = cut.PixelData[:100]
    study = assistant.open_study(write(tmp_path / f"{CANARY}.dcm", cut))
    with pytest.raises(PixelError):
        assistant.ask(study, QUESTION)
    failed = list(assistant.audit.read())[-1]
    assert (failed.action, failed.outcome, failed.study) == ("refuse", "failed", STUDY_UID)
    assert failed.entity == {"question": QUESTION, "image_number": 1, "error": "PixelError"}
    assert CANARY.encode() not in written(tmp_path)


def test_opening_a_study_is_recorded_by_uid_and_pseudonym(assistant: Assistant, tmp_path: Path) -> None:
    for number in (1, 2):
        one = image(pixels(number), number=number, PatientID="17")
        write(tmp_path / CANARY / f"{number}.dcm", one)
    (tmp_path / CANARY / "notes.txt").write_text("no image")
    study = assistant.open_study(tmp_path / CANARY, window="lung")
    (event,) = events(assistant, "open_study")
    assert (event.subject, event.study) == (STUDY_UID, STUDY_UID)
    assert event.patient is not None
    assert re.fullmatch("P-[A-Z2-7]{26}", event.patient)
    assert event.entity == {"images": 2, "source": "folder", "window": "lung", "warnings": ["not_dicom"]}
    answer = assistant.ask(study, QUESTION)
    told = list(assistant.audit.read(Filter(subject=answer.answer_id)))
    assert {(one.study, one.patient) for one in told} == {(STUDY_UID, event.patient)}
    assert CANARY.encode() not in written(tmp_path)


def test_no_study_is_opened_without_a_record(assistant: Assistant, tmp_path: Path) -> None:
    drop_the_table(tmp_path)
    with pytest.raises(RecordError, match="withheld because it could not be recorded"):
        assistant.open_study(MR)


def drop_the_table(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "trail" / "audit.sqlite") as connection:
        connection.execute("DROP TABLE event")
    connection.close()


def test_no_refusal_without_a_record_either(assistant: Assistant, tmp_path: Path) -> None:
    study = read_study(write(tmp_path / "flat.dcm", image(np.full((48, 40), 7, dtype=np.int16))))
    drop_the_table(tmp_path)
    with pytest.raises(RecordError):
        assistant.ask(study, QUESTION)


def test_nothing_of_the_patient_reaches_answer_trail_or_errors(assistant: Assistant, tmp_path: Path) -> None:
    study = read_study(write(tmp_path / "one.dcm", planted(image(pixels()))))
    answer = assistant.ask(study, QUESTION, heatmap="attention")
    answer.heatmap.save(tmp_path / "map.png")
    flat = read_study(write(tmp_path / "flat.dcm", planted(image(np.zeros((48, 40), dtype=np.int16)))))
    said = repr(answer) + refusal(assistant, flat)
    said += refusal(assistant, study, image_number=9)
    for kept in (said.encode(), written(tmp_path), (tmp_path / "map.png").read_bytes()):
        assert CANARY.encode() not in kept
        assert b"19010203" not in kept


def refusal(assistant: Assistant, study: Any, **options: Any) -> str:
    with pytest.raises(MedvqaError) as caught:
        assistant.ask(study, QUESTION, **options)
    return str(caught.value)


def test_nothing_of_a_picture_s_text_reaches_the_trail(assistant: Assistant, tmp_path: Path) -> None:
    text = PngInfo()
    text.add_text("Patient", f"{CANARY}^TEXT")
    grey = PillowImage.fromarray((pixels() % 256).astype(np.uint8))
    grey.save(tmp_path / "one.png", pnginfo=text)
    answer = assistant.ask(read_study(tmp_path / "one.png"), QUESTION, heatmap="attention")
    answer.heatmap.save(tmp_path / "map.png")
    assert CANARY.encode() in (tmp_path / "one.png").read_bytes()
    for kept in (repr(answer).encode(), written(tmp_path), (tmp_path / "map.png").read_bytes()):
        assert CANARY.encode() not in kept


def test_the_default_trail_is_where_the_settings_say(
    default_model: HuggingFaceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "medvqa.assistant.default_audit_url", lambda: f"sqlite:///{tmp_path / 'trail' / 'mine.sqlite'}"
    )
    assistant = Assistant(default_model)
    assert assistant.ask(read_study(MR), QUESTION).audit_id == 3
    assert (tmp_path / "trail" / "mine.sqlite").is_file()
    assistant.audit.close()
