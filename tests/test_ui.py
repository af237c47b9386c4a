"""The page, run by Streamlit's own AppTest with the default model, whatever that answers."""

from __future__ import annotations

import io
import sqlite3
import zipfile
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from threading import Timer
from typing import Any

import dicom_builder
import numpy as np
import pydicom.data
import pytest
from streamlit.testing.v1 import AppTest

import audit
import ui
from audit.keys import create_key
from medvqa import Answer
from medvqa.checks.verdict import MEANINGS
from medvqa.signing_keys import signing_key_path
from medvqa.types import NOT_FOR_DIAGNOSIS, HeatmapLevel
from ui.desk import Desk
from ui.messages import plain
from ui.trail import MOST_PROBLEMS

PAGE = Path(ui.__file__).with_name("app.py")
MR = "MR_small.dcm"
CT = "CT_small.dcm"


@pytest.fixture(autouse=True)
def trail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trail of this test's own; it does not exist until something is recorded or the model loaded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MEDVQA_CONFIG", raising=False)
    monkeypatch.delenv("MEDVQA_MODEL", raising=False)
    path = tmp_path / "trail.sqlite"
    monkeypatch.setenv("MEDVQA_AUDIT_URL", str(path))
    monkeypatch.setenv("MEDVQA_KEY_FOLDER", str(tmp_path / "keys"))
    return path


@pytest.fixture
def page() -> AppTest:
    return AppTest.from_file(PAGE, default_timeout=200).run()


def sample(name: str) -> Path:
    return Path(str(pydicom.data.get_testdata_file(name, download=False)))


def open_study(page: AppTest, path: Path | str) -> AppTest:
    page.text_input(key="path").set_value(str(path))
    return press(page, "Open")


def ask(page: AppTest, question: str = "Is there a tumor?", *, heatmap: str = "none") -> AppTest:
    page.text_input(key="question").set_value(question)
    page.selectbox(key="method").set_value(heatmap)
    return press(page, "Ask")


def press(page: AppTest, label: str) -> AppTest:
    (button,) = [button for button in page.button if button.label == label]
    return button.click().run()


def events(path: Path, action: str = "answer") -> list[audit.Event]:
    with audit.Log(f"sqlite:///{path}", create=False) as log:
        return list(log.read(audit.Filter(action=action)))


def actions(path: Path) -> list[str]:
    with audit.Log(f"sqlite:///{path}", create=False) as log:
        return [event.action for event in log.read()]


def picture(page: AppTest) -> Any:
    (images,) = page.image
    return images.proto.imgs[0].url


def words(page: AppTest) -> str:
    """Everything that the page says, Markdown's escapes taken out."""
    groups = (page.markdown, page.caption, page.info, page.warning, page.error, page.success, page.html)
    said = [
        element.value if hasattr(element, "value") else element.body for group in groups for element in group
    ]
    return "\n".join(said).replace("\\", "")


def test_opening_shows_the_image_and_its_digest_but_no_patient(page: AppTest) -> None:
    assert [info.value for info in page.info] == ["Open a study to ask about it."]
    open_study(page, sample(MR))
    assert not page.exception
    assert not page.error
    assert picture(page)
    assert "MR, image 1, 64 x 64 pixels" in words(page)
    dataset = pydicom.dcmread(sample(MR))
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID"):
        assert str(dataset[keyword].value) not in words(page)


@pytest.mark.parametrize("path", ["nothing there.dcm", "."])
def test_a_bad_path_is_one_sentence(page: AppTest, path: str) -> None:
    open_study(page, path)
    assert not page.exception
    (error,) = page.error
    assert "\n" not in error.value
    assert not page.image


def test_a_bad_path_leaves_the_open_study_open(page: AppTest) -> None:
    open_study(page, sample(MR))
    open_study(page, "nothing there.dcm")
    assert len(page.error) == 1
    assert picture(page)


def test_an_answer_is_shown_with_its_worth_and_recorded_once(page: AppTest, trail: Path) -> None:
    open_study(page, sample(MR))
    ask(page)
    assert not page.exception
    assert not page.error
    (event,) = events(trail)
    assert event.action == "answer"
    assert event.entity["question"] == "Is there a tumor?"
    checks: Any = event.entity["checks"]
    said = words(page)
    assert f"**{checks['verdict']}**: {MEANINGS[checks['verdict']]}" in said
    assert f"Audit row {event.sequence}, answer {event.subject}" in said
    assert said.count(NOT_FOR_DIAGNOSIS) == 2
    shown = {metric.label: metric.value for metric in page.metric}
    assert shown["Confidence, uncalibrated"] == f"{checks['confidence']:.2f}"
    assert shown["Image reliance"] == f"{checks['image_reliance']:+.2f} nats"

    page.run()
    page.selectbox(key="method").set_value("attention").run()
    assert f"answer {event.subject}" in words(page)
    assert len(events(trail)) == 1

    ask(page, "Which organ is shown?")
    assert [found.entity["question"] for found in events(trail)] == [
        "Is there a tumor?",
        "Which organ is shown?",
    ]


def test_a_second_click_while_waiting_asks_nothing(page: AppTest, trail: Path) -> None:
    open_study(page, sample(MR))
    ask(page)
    desk: Desk = page.session_state.desk
    assert desk.submission is not None
    answer, pending = desk.submission.pending.result(), Future[Answer]()
    desk.submission = replace(desk.submission, pending=pending)
    Timer(1, pending.set_result, [answer]).start()
    ask(page, "Which organ is shown?")
    assert f"answer {answer.answer_id}" in words(page)
    assert len(events(trail)) == 1


def test_a_heatmap_no_better_than_chance_gives_way_to_the_reason(
    page: AppTest, grade_of: Callable[[HeatmapLevel], None]
) -> None:
    grade_of("chance")
    open_study(page, sample(MR))
    bare = picture(page)
    ask(page, heatmap="attention")
    page.toggle[0].set_value(True).run()
    assert picture(page) == bare
    assert "It is chance." in [caption.value for caption in page.caption]


def test_the_heatmap_is_laid_over_only_when_asked_for(
    page: AppTest, grade_of: Callable[[HeatmapLevel], None]
) -> None:
    grade_of("good")
    open_study(page, sample(MR))
    bare = picture(page)
    ask(page)
    assert not page.toggle
    ask(page, heatmap="attention")
    assert not page.exception
    assert picture(page) == bare
    page.toggle[0].set_value(True).run()
    covered = picture(page)
    assert covered != bare
    page.slider(key="opacity").set_value(0.2).run()
    assert picture(page) not in (bare, covered)
    page.slider(key="opacity").set_value(0.0).run()
    assert picture(page) == bare
    ask(page, heatmap="attention")
    assert page.toggle[0].value is False


def test_a_blank_image_is_refused_in_one_sentence_and_on_record(
    page: AppTest, trail: Path, tmp_path: Path
) -> None:
    path = tmp_path / "blank.dcm"
    dicom_builder.image(np.full((64, 64), 7, np.int16), Modality="MR").save_as(path)
    open_study(page, path)
    ask(page)
    assert not page.exception
    assert len(page.error) == 1
    assert "looks the same, so there is nothing to ask about" in words(page)
    assert NOT_FOR_DIAGNOSIS in words(page)
    recorded = ["login", "configure", "open_study", "load_model", "ask", "refuse"]
    assert actions(trail) == recorded
    page.run()
    assert len(page.error) == 1
    assert actions(trail) == recorded


def test_an_empty_question_is_one_sentence_and_not_recorded(page: AppTest, trail: Path) -> None:
    open_study(page, sample(MR))
    ask(page, "  ")
    assert [error.value.replace("\\", "") for error in page.error] == [
        "the question is empty; ask something about the image"
    ]
    assert events(trail) == []


def test_a_suggestion_fills_the_question_and_asks_nothing(page: AppTest, trail: Path) -> None:
    open_study(page, sample(MR))
    suggestions = page.pills(key="suggestion")
    chosen = suggestions.options[1]
    suggestions.set_value(chosen).run()
    assert not page.exception
    assert page.text_input(key="question").value == chosen
    assert page.pills(key="suggestion").value in (None, [])
    assert events(trail) == []


def test_ct_has_windows_that_change_the_picture_and_part_from_the_answer(page: AppTest, trail: Path) -> None:
    open_study(page, sample(MR))
    assert "window" not in [select.key for select in page.selectbox]
    open_study(page, sample(CT))
    automatic = picture(page)
    ask(page, heatmap="attention")
    assert page.toggle
    page.selectbox(key="window").set_value("lung").run()
    assert not page.exception
    assert picture(page) != automatic
    assert not page.toggle
    assert "This answer is about image 1 as it was shown then" in words(page)
    ask(page)
    assert "This answer is about" not in words(page)
    steps: Any = events(trail)[1].entity["applied"]
    assert [step["parameters"]["source"] for step in steps if step["name"] == "voi_window"] == ["lung"]


def test_several_images_have_a_slider_and_the_one_shown_is_asked_about(
    page: AppTest, trail: Path, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        pixels = dicom_builder.gradient(40, 40 + number)
        dicom_builder.image(pixels, number=number, Modality="MR").save_as(tmp_path / f"{number}.dcm")
    open_study(page, tmp_path)
    assert not page.error
    (slider,) = page.slider
    assert (slider.min, slider.max, slider.value) == (1, 3, 2)
    slider.set_value(3).run()
    assert "40 x 43 pixels" in words(page)
    ask(page)
    (event,) = events(trail)
    asked: Any = event.entity["image"]
    assert asked["columns"] == 43
    assert "one_image_of_many" not in event.entity["warnings"]  # the person chose
    page.slider[0].set_value(1).run()
    assert "This answer is about image 3 as it was shown then" in words(page)


def test_uploads_are_read_under_neutral_names(page: AppTest) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        target.write(sample(MR), "a.dcm")
    page.file_uploader(key="files").set_value(("DOE JANE.zip", archive.getvalue(), "application/zip"))
    press(page, "Open files")
    assert not page.exception
    assert not page.error
    assert picture(page)
    page.file_uploader(key="files").set_value(("DOE JANE.dcm", b"nothing", "application/dicom"))
    press(page, "Open files")
    (error,) = page.error
    assert "uploaded file 1" in error.value
    assert "DOE" not in words(page)


def test_the_trail_is_verified_on_the_page(
    page: AppTest, trail: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_study(page, sample(MR))
    ask(page)
    press(page, "Verify trail")
    said = "Intact: 7 events, 0 of them under signed checkpoints. Root of the tree:"
    assert [success.value for success in page.success] == [said]
    assert actions(trail) == [
        *("login", "configure", "open_study", "load_model", "ask", "answer", "read_trail")
    ]
    with audit.Log(f"sqlite:///{trail}") as log:
        assert page.code[0].value == log.verify().root
        log.sign([create_key(signing_key_path(tmp_path / "keys"), name="example.org/audit")])
    press(page, "Verify trail")
    (success,) = page.success
    assert "8 events, 7 of them under signed checkpoints" in success.value
    problems = tuple(
        audit.Problem(kind="altered", sequence=row, field="body", message=f"row {row} has *another* body")
        for row in range(1, 9)
    )
    broken = audit.Verification(
        intact=False, events=8, root="0" * 64, covered=0, checkpoints=0, archived=0, problems=problems
    )
    monkeypatch.setattr(audit.Log, "verify", lambda _, **__: broken)
    press(page, "Verify trail")
    (error,) = page.error
    assert error.value.count("\\*another\\*") == MOST_PROBLEMS
    assert "and 3 more" in error.value


def test_the_trail_is_not_read_where_that_cannot_be_recorded(page: AppTest, trail: Path) -> None:
    open_study(page, sample(MR))
    ask(page)
    with sqlite3.connect(trail) as connection:
        connection.execute("DROP TABLE event")
    connection.close()
    press(page, "Verify trail")
    assert "withheld because it could not be recorded" in words(page)
    assert not page.success
    assert not page.code


def test_a_model_that_is_not_there_is_one_sentence_beside_the_image(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDVQA_MODEL", "no/such model")
    open_study(page, sample(MR))
    assert not page.exception
    (error,) = page.error
    assert "is neither a folder nor a model in the local cache" in error.value
    assert picture(page)


def test_each_session_is_a_login_and_opening_a_study_is_recorded(page: AppTest, trail: Path) -> None:
    assert actions(trail) == ["login", "configure"]
    page.run()
    open_study(page, sample(MR))
    AppTest.from_file(PAGE, default_timeout=200).run()
    assert actions(trail) == ["login", "configure", "open_study", "load_model", "login"]
    one, other = events(trail, "login")
    assert one.subject != other.subject
    (opened,) = events(trail, "open_study")
    assert opened.study == str(pydicom.dcmread(sample(MR)).StudyInstanceUID)


def test_nothing_opens_where_it_cannot_be_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDVQA_AUDIT_URL", str(tmp_path))
    page = AppTest.from_file(PAGE, default_timeout=200).run()
    assert not page.exception
    (error,) = page.error
    assert "audit trail" in error.value
    assert not page.text_input


def test_markdown_in_data_stays_text() -> None:
    assert plain("![a](http://b) *c* $d$ :red[e] <f>") == (
        r"\!\[a\]\(http\:\/\/b\) \*c\* \$d\$ \:red\[e\] \<f\>"
    )
