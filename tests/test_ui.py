"""The pages, run by Streamlit's own AppTest with the default model, whatever that answers."""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Timer
from typing import Any

import dicom_builder
import numpy as np
import pydicom.data
import pytest
from chat_server import chat_server
from streamlit.testing.v1 import AppTest
from tiny_contrastive import write_contrastive

import audit
import ui
from audit.keys import create_key
from medvqa.checks.verdict import MEANINGS
from medvqa.models.contrastive import load_contrastive
from medvqa.records import Agent
from medvqa.retrieval.index import CaseIndex
from medvqa.retrieval.similar import SIMILARITY, index_study
from medvqa.sessions import begin_session
from medvqa.signing_keys import signing_key_path
from medvqa.study import read_study
from medvqa.types import NOT_FOR_DIAGNOSIS, UNKNOWN, HeatmapLevel
from ui.desk import Desk
from ui.messages import plain
from ui.people import Person
from ui.trail import MOST_PROBLEMS
from ui.uploads import remove_leftovers
from ui.waiting import Came, Submission

PAGES = Path(ui.__file__).with_name("app.py")
MR = "MR_small.dcm"


@pytest.fixture(autouse=True)
def trail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trail of this test's own; it does not exist until something is recorded or the model loaded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MEDVQA_CONFIG", raising=False)
    monkeypatch.delenv("MEDVQA_MODEL", raising=False)
    path = tmp_path / "trail.sqlite"
    monkeypatch.setenv("MEDVQA_AUDIT_URL", str(path))
    monkeypatch.setenv("MEDVQA_KEY_FOLDER", str(tmp_path / "keys"))
    monkeypatch.setenv("MEDVQA_AGENT", "dr-17")
    return path


@pytest.fixture
def page() -> AppTest:
    return AppTest.from_file(PAGES, default_timeout=200).run()


def configure(text: str) -> None:
    Path("medvqa.toml").write_text(text, encoding="utf-8")


def sample(name: str) -> Path:
    return Path(str(pydicom.data.get_testdata_file(name, download=False)))


def open_study(page: AppTest, path: Path | str) -> AppTest:
    page.switch_page("pages/worklist.py").run()
    page.text_input(key="path").set_value(str(path))
    press(page, "Open")
    # AppTest shows the page that was switched to, but would run the one before again.
    return page if page.error else page.switch_page("pages/review.py").run()


def ask(page: AppTest, question: str = "Is there a tumor?", *, heatmap: str = "none") -> AppTest:
    page.text_input(key="question").set_value(question)
    page.selectbox(key="method").set_value(heatmap)
    return wait(press(page, "Ask"))


def wait(page: AppTest) -> AppTest:
    """Until the model is done: in a browser the page looks by itself."""
    while not page.exception and desk_of(page).submission is not None:
        page.run()
    return page


def press(page: AppTest, label: str) -> AppTest:
    (button,) = [button for button in page.button if button.label == label]
    return button.click().run()


def press_first(page: AppTest, label: str) -> AppTest:
    return next(button for button in page.button if button.label == label).click().run()


def write(page: AppTest, label: str, text: str) -> None:
    (area,) = [one for one in (*page.text_area, *page.text_input) if one.label == label]
    area.set_value(text)


def judge(page: AppTest, verdict: str, text: str, label: str) -> AppTest:
    press(page, verdict.capitalize())
    write(page, label, text)
    return press(page, f"Record: {verdict}")


def sign(page: AppTest, typed: str = "dr-17") -> AppTest:
    write(page, "Type dr-17 to sign", typed)
    return press(page, "Sign")


def events(path: Path, action: str = "answer") -> list[audit.Event]:
    with audit.Log(f"sqlite:///{path}", create=False) as log:
        return list(log.read(audit.Filter(action=action)))


def actions(path: Path) -> list[str]:
    with audit.Log(f"sqlite:///{path}", create=False) as log:
        return [event.action for event in log.read()]


def words(page: AppTest) -> str:
    """Everything that the page says, Markdown's escapes taken out."""
    groups = (page.markdown, page.caption, page.info, page.warning, page.error, page.success, page.html)
    said = [
        element.value if hasattr(element, "value") else element.body for group in groups for element in group
    ]
    return "\n".join([one.value for one in page.subheader] + said).replace("\\", "")


def desk_of(page: AppTest) -> Desk:
    return page.session_state.desk


def test_an_empty_worklist_says_how_to_fill_it(page: AppTest) -> None:
    assert not page.exception
    assert "Name a folder of studies with the key studies in medvqa.toml" in words(page)
    page.switch_page("pages/review.py").run()
    assert "No study is open" in words(page)
    assert not page.button


def test_the_worklist_tells_how_far_each_study_has_come(tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    (studies / "stack").mkdir(parents=True)
    for number in (1, 2):
        dicom_builder.write(studies / "stack" / f"{number}.dcm", dicom_builder.image(number=number))
    (studies / "mr.dcm").write_bytes(sample(MR).read_bytes())
    (studies / "notes.txt").write_text("no study")
    configure(f'studies = "{studies}"\n')
    page = AppTest.from_file(PAGES, default_timeout=200).run()
    table = page.dataframe[0].value
    mr, notes, stack = (table.iloc[row] for row in range(3))
    assert (mr["Modality"], mr["Images"], mr["Progress"]) == ("MR", 1, "unread")
    assert (stack["Modality"], stack["Images"], stack["Progress"]) == ("CT", 2, "unread")
    assert "notes.txt is not a DICOM file" in notes["Study"]

    page.session_state["worklist"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    page.run()
    assert not page.exception
    assert [one.value for one in page.subheader] == ["Review"]
    page.switch_page("pages/review.py").run()
    ask(page)
    page.switch_page("pages/worklist.py").run()
    row = page.dataframe[0].value.iloc[0]
    assert (row["Progress"], row["Unsigned answers"]) == ("in review", 1)
    page.pills(key="progress").set_value(["unread"]).run()
    assert list(page.dataframe[0].value["Modality"]) == ["CT"]


def test_opening_shows_the_study_but_no_patient(page: AppTest) -> None:
    open_study(page, sample(MR))
    assert not page.exception
    assert not page.error
    assert [one.value for one in page.subheader] == ["Review"]
    assert re.fullmatch(r"Patient P-[A-Z0-9]+", desk_of(page).banner)
    dataset = pydicom.dcmread(sample(MR))
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID"):
        assert str(dataset[keyword].value) not in words(page) + desk_of(page).banner


@pytest.mark.parametrize("path", ["nothing there.dcm", "."])
def test_a_bad_path_is_one_sentence_and_leaves_the_open_study_open(page: AppTest, path: str) -> None:
    open_study(page, sample(MR))
    before = desk_of(page)
    open_study(page, path)
    assert not page.exception
    (error,) = page.error
    assert "\n" not in error.value
    assert desk_of(page) is before


def test_an_answer_is_shown_with_its_worth_and_recorded_once(page: AppTest, trail: Path) -> None:
    open_study(page, sample(MR))
    ask(page)
    assert not page.exception
    assert not page.error
    (event,) = events(trail)
    assert event.entity["question"] == "Is there a tumor?"
    checks: Any = event.entity["checks"]
    said = words(page)
    assert MEANINGS[checks["verdict"]] in said
    assert f"Audit row {event.sequence}, answer {event.subject}" in said
    assert NOT_FOR_DIAGNOSIS in said
    shown = {metric.label: metric.value for metric in page.metric}
    assert shown["Uncalibrated"] == f"{checks['confidence']:.2f}"
    assert shown["Image reliance"] == f"{checks['image_reliance']:+.2f}"
    assert shown["Image effect"] == f"{checks['image_effect']:+.2f}"
    assert shown["Wording effect"] == f"{checks['wording_effect']:+.2f}"

    page.run()
    page.selectbox(key="method").set_value("attention").run()
    assert len(events(trail)) == 1
    ask(page, "Which organ is shown?")
    asked = [found.entity["question"] for found in events(trail)]
    assert asked == ["Is there a tumor?", "Which organ is shown?"]
    assert words(page).index("Which organ is shown?") < words(page).index("Is there a tumor?")


def test_the_same_question_is_answered_once_unless_a_map_is_wanted(page: AppTest, trail: Path) -> None:
    open_study(page, sample(MR))
    ask(page)
    ask(page, " Is there a tumor? ")
    assert len(events(trail)) == 1
    assert "the recorded answer is shown" in page.toast[0].value
    ask(page, heatmap="attention")
    ask(page, heatmap="attention")
    assert len(events(trail)) == 2


def test_a_second_click_while_waiting_asks_nothing(page: AppTest, trail: Path) -> None:
    open_study(page, sample(MR))
    ask(page)
    (came,) = desk_of(page).came.values()
    pending = Future[Came]()
    desk_of(page).submission = Submission(pending=pending)
    Timer(1, pending.set_result, [came]).start()
    ask(page, "Which organ is shown?")
    assert len(events(trail)) == 1


def test_long_work_says_its_stage_and_is_stopped_on_record(page: AppTest, trail: Path) -> None:
    open_study(page, sample(MR))
    page.text_input(key="question").set_value("Is there a tumor?")
    page.selectbox(key="method").set_value("integrated_gradients")
    press(page, "Ask")
    assert not page.exception
    submission = desk_of(page).submission
    assert submission is not None
    assert any(button.label == "Stop it" for button in page.button)
    submission.work.cancel()
    wait(page)
    assert desk_of(page).problem is None
    (failed,) = events(trail)
    assert (failed.outcome, failed.entity["error"]) == ("failed", "CancelledError")
    assert "Audit row" not in words(page)
    ask(page)
    assert "Audit row" in words(page)


@pytest.mark.slow
def test_a_word_and_a_contrast_are_explained_on_click(page: AppTest, trail: Path) -> None:
    open_study(page, sample(MR))
    ask(page)
    (answered,) = events(trail)
    key = f"word of {answered.subject}"
    page.session_state[key] = 1
    wait(page.run())
    assert not page.exception
    write(page, "Rather than", "no idea at all")
    wait(press(page, "Why?"))
    wait(press(page, "The whole answer"))
    maps: list[Any] = [event.entity["heatmap"] for event in events(trail, "explain")]
    word = str(answered.entity["answer"]).split()[0]
    assert [word in str(maps[0]["part"]), "no idea at all" in str(maps[1]["part"]), maps[2]["part"]] == [
        True,
        True,
        None,
    ]
    assert {one["method"] for one in maps} == {"occlusion"}
    again = AppTest.from_file(PAGES, default_timeout=200).run()
    open_study(again, sample(MR))
    wait(press(again, "The whole answer"))  # of an answer of another day
    assert len(events(trail, "explain")) == 4
    assert desk_of(again).served.heatmaps


def test_the_answers_of_another_day_are_there_but_their_maps_are_not(page: AppTest, trail: Path) -> None:
    open_study(page, sample(MR))
    ask(page, heatmap="attention")
    (event,) = events(trail)
    again = AppTest.from_file(PAGES, default_timeout=200).run()
    open_study(again, sample(MR))
    assert f"answer {event.subject}" in words(again)
    assert desk_of(again).mapped() is None


def test_a_heatmap_no_better_than_chance_gives_way_to_the_reason(
    page: AppTest, grade_of: Callable[[HeatmapLevel], None]
) -> None:
    grade_of("chance")
    open_study(page, sample(MR))
    ask(page, heatmap="attention")
    assert "It is chance." in words(page)
    assert desk_of(page).mapped() is None


def test_the_viewer_turns_to_the_map_of_the_answer_wanted(
    page: AppTest, grade_of: Callable[[HeatmapLevel], None]
) -> None:
    grade_of("good")
    open_study(page, sample(MR))
    ask(page, heatmap="attention")
    first = desk_of(page).mapped()
    ask(page, "Which organ is shown?", heatmap="attention")
    second = desk_of(page).mapped()
    assert first is not None
    assert second is not None
    assert first.answer_id != second.answer_id
    press(page, "Show this map in the viewer")
    assert desk_of(page).mapped() is first


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


def test_the_middle_image_is_asked_about_before_the_reader_moves(
    page: AppTest, trail: Path, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        pixels = dicom_builder.gradient(40, 40 + number)
        dicom_builder.image(pixels, number=number, Modality="MR").save_as(tmp_path / f"{number}.dcm")
    open_study(page, tmp_path)
    ask(page)
    (event,) = events(trail)
    asked: Any = event.entity["image"]
    assert asked["columns"] == 42
    assert "one_image_of_many" not in event.entity["warnings"]  # it is the one on screen


def test_a_prior_stands_beside_with_its_distance_and_is_recorded_as_opened(
    tmp_path: Path, trail: Path
) -> None:
    dates = {"now": "20260301", "before": "20250301", "other": "20240301"}
    for number, (name, date) in enumerate(dates.items()):
        dataset = dicom_builder.image(StudyDate=date, PatientID="B" if name == "other" else "A")
        dataset.StudyInstanceUID = f"1.2.3.{number}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}.1"
        (tmp_path / "studies").mkdir(exist_ok=True)
        dicom_builder.write(tmp_path / "studies" / f"{name}.dcm", dataset)
    configure('studies = "studies"\n')
    page = AppTest.from_file(PAGES, default_timeout=200).run()
    open_study(page, tmp_path / "studies" / "now.dcm")
    assert not page.exception
    (beside,) = [box for box in page.selectbox if box.label == "Beside it"]
    assert beside.options[0] == "nothing"
    assert len(beside.options) == 2
    assert re.fullmatch("Study [0-9a-f]{8}, 365 days before: Series 1, CT, 1 images", beside.options[1])
    assert len(events(trail, "open_study")) == 1
    beside.select_index(1).run()
    assert not page.exception
    page.run()
    opened = events(trail, "open_study")
    assert [event.study for event in opened] == ["1.2.3.0", "1.2.3.1"]
    assert opened[1].entity["source"] == "beside another"
    assert "2025" not in words(page)


def test_similar_cases_are_found_where_the_settings_name_an_index(tmp_path: Path, trail: Path) -> None:
    model = load_contrastive(write_contrastive(tmp_path / "clip"))
    for number in (1, 2):
        dataset = dicom_builder.image(PatientID=f"{number}")
        dataset.StudyInstanceUID = f"1.2.3.{number}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}.1"
        dicom_builder.write(tmp_path / f"{number}.dcm", dataset)
    with audit.Log(f"sqlite:///{trail}") as log:
        begun = begin_session(log, Agent(name="dr-17"), key_folder=tmp_path / "keys")
        index = CaseIndex(tmp_path / "cases", model.identity, create=True)
        index_study(begun, index, model, read_study(tmp_path / "1.dcm"))
    page = open_study(AppTest.from_file(PAGES, default_timeout=200).run(), tmp_path / "2.dcm")
    assert "Similar earlier cases" not in [one.label for one in page.expander]
    configure('similar_index = "cases"\nsimilar_model = "clip"\n')
    page = open_study(AppTest.from_file(PAGES, default_timeout=200).run(), tmp_path / "2.dcm")
    assert SIMILARITY not in words(page)
    press(page, "Find")
    assert not page.exception
    assert "+1.000 study 1.2.3.1" in words(page).replace("**", "")
    assert "Nothing about it was signed." in words(page)
    assert SIMILARITY in words(page)
    page.text_input(key="similar text").set_value("a chest x ray")
    press(page, "Find")
    assert "Most like: a chest x ray" in words(page)
    assert [event.study for event in events(trail, "find_similar")] == ["1.2.3.2", "1.2.3.1"] * 2
    (tmp_path / "cases" / "index.sqlite").unlink()
    press(page, "Find")
    assert "holds no index" in words(page)


def test_uploads_are_read_under_neutral_names(page: AppTest) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        target.write(sample(MR), "a.dcm")
    page.file_uploader(key="files").set_value(("DOE JANE.zip", archive.getvalue(), "application/zip"))
    press(page, "Open files")
    assert not page.exception
    assert not page.error
    assert len(desk_of(page).study.images) == 1
    page.switch_page("pages/worklist.py").run()
    page.file_uploader(key="files").set_value(("DOE JANE.dcm", b"nothing", "application/dicom"))
    press(page, "Open files")
    (error,) = page.error
    assert "the file that was sent is neither DICOM" in error.value.replace("\\", "")
    assert "DOE" not in words(page)
    page.file_uploader(key="files").set_value(
        [
            ("DOE JANE.dcm", sample(MR).read_bytes(), "application/dicom"),
            ("DOE JANE.exe", b"MZ" + bytes(300), "application/dicom"),
        ]
    )
    press(page, "Open files")
    assert not page.exception
    folder = Path(desk_of(page).uploaded.name)  # type: ignore[union-attr]
    assert [file.name for file in folder.iterdir()] == ["uploaded file 1"]
    assert desk_of(page).study.warnings[-1].code == "not_taken"
    page.switch_page("pages/worklist.py").run()
    open_study(page, sample(MR))
    assert not folder.exists()


def test_too_many_or_too_large_files_are_refused_before_they_are_written(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = [(f"{number}.dcm", sample(MR).read_bytes(), "application/dicom") for number in range(3)]
    for name, value in (("MOST_FILES", 2), ("MOST_BYTES", 20_000)):
        monkeypatch.setattr(f"ui.uploads.{name}", value)
        page.switch_page("pages/worklist.py").run()
        page.file_uploader(key="files").set_value(sent)
        press(page, "Open files")
        (error,) = page.error
        assert "may be sent" in error.value
        monkeypatch.undo()
    assert "desk" not in page.session_state


def test_what_a_killed_server_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f"medvqa-upload-{dead.pid}-x", f"medvqa-upload-{os.getpid()}-x", "somebody's own"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "uploaded file 1").write_bytes(b"DICM")
    remove_leftovers()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [
        f"medvqa-upload-{os.getpid()}-x",
        "somebody's own",
    ]


def test_what_nobody_foresaw_is_a_reference_and_quotes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def script() -> None:
        from ui.failing import report_failure

        try:
            int("Doe^Jane")
        except ValueError as error:
            assert report_failure(error) is True

    page = AppTest.from_function(script, default_timeout=200).run()
    assert not page.exception
    (shown,) = page.error
    reference = re.search(r"reference ([0-9a-f]{8})", shown.value)
    assert reference is not None
    assert f"failure {reference[1]}: ValueError at " in caplog.text
    assert "Doe" not in shown.value + caplog.text


@pytest.mark.parametrize(
    ("verdict", "label", "text", "state"),
    [
        ("agree", "Remark (may stay empty)", "", "Accepted"),
        ("amend", "The right answer", "left lower lobe", "Corrected"),
        ("reject", "Why it is rejected", "another organ", "Rejected"),
    ],
)
def test_each_verdict_takes_two_actions_and_none_is_preselected(
    page: AppTest, trail: Path, verdict: str, label: str, text: str, state: str
) -> None:
    open_study(page, sample(MR))
    ask(page)
    assert not [button for button in page.button if button.label.startswith("Record: ")]
    judge(page, verdict, text, label)
    assert not page.exception
    assert not page.error
    (event,) = events(trail, "review")
    assert (event.verdict, event.agent, event.entity["text"]) == (verdict, "dr-17", text or None)
    seconds: Any = event.entity["seconds"]
    assert seconds >= 0
    assert state in words(page)


def test_a_verdict_without_its_reason_is_not_recorded(page: AppTest, trail: Path) -> None:
    open_study(page, sample(MR))
    ask(page)
    judge(page, "reject", " ", "Why it is rejected")
    assert "say in a text what is right or why" in words(page)
    assert events(trail, "review") == []


def test_a_signature_takes_who_signs_and_ends_the_review(page: AppTest, trail: Path) -> None:
    open_study(page, sample(MR))
    ask(page)
    judge(page, "amend", "left lower lobe", "The right answer")
    sign(page, typed="dr-18")
    assert "nothing was signed" in words(page)
    assert events(trail, "sign") == []
    sign(page)
    (event,) = events(trail, "sign")
    assert event.entity["meaning"] == "reviewed and approved"
    assert "dr-17 signed on" in words(page)
    assert "Agree" not in [button.label for button in page.button]
    write(page, "Addendum", "unchanged in May")
    press(page, "Record the addendum")
    assert "Signed, with addendum" in words(page)
    assert "unchanged in May" in words(page)


def test_images_that_were_not_looked_at_are_counted_before_signing(page: AppTest, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        pixels = dicom_builder.gradient(40, 40)
        dicom_builder.image(pixels, number=number, Modality="MR").save_as(tmp_path / f"{number}.dcm")
    open_study(page, tmp_path)
    ask(page)
    judge(page, "amend", "nothing", "The right answer")
    assert "2 images of this series were not looked at." in words(page)


def test_blind_first_holds_the_answer_back_until_the_reader_committed(trail: Path) -> None:
    configure("blind_first = true\n")
    page = AppTest.from_file(PAGES, default_timeout=200).run()
    open_study(page, sample(MR))
    ask(page)
    assert not page.metric
    press(page, "Commit and show")
    assert "Write your answer, or skip." in words(page)
    write(page, "Your own answer, before the model's is shown", "no tumor")
    press(page, "Commit and show")
    assert page.metric
    (event,) = events(trail, "first_read")
    assert (event.entity["text"], event.entity["skipped"]) == ("no tumor", False)


def test_a_stopped_study_is_not_asked_about(page: AppTest, trail: Path) -> None:
    open_study(page, sample(MR))
    write(page, "Why", "strange answers")
    press(page, "Stop")
    assert "Answering about this study was stopped by dr-17: strange answers" in words(page)
    ask(page)
    assert events(trail) == []
    assert [event.outcome for event in events(trail, "refuse")] == ["refused"]
    write(page, "Why", "looked into")
    press(page, "Resume")
    ask(page)
    assert len(events(trail)) == 1


def test_the_trail_is_searched_and_a_story_told(page: AppTest, trail: Path) -> None:
    open_study(page, sample(MR))
    ask(page)
    (answered,) = events(trail)
    page.switch_page("pages/audit.py").run()
    press(page, "Search")
    assert not page.exception
    table = page.dataframe[0].value
    assert list(table["Action"]) == ["answer", "ask", "load_model", "open_study", "configure", "login"]
    page.session_state["events"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    page.run()
    assert f"2 events about {answered.subject}" in words(page)
    (recorded,) = events(trail, "read_trail")
    assert recorded.entity["command"] == "search"
    press(page, "Make the export")
    (exported,) = events(trail, "export")
    assert not page.exception
    found: Any = exported.entity["found"]
    assert found["events"] == 7


def test_the_trail_is_verified_on_the_page(
    page: AppTest, trail: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_study(page, sample(MR))
    ask(page)
    page.switch_page("pages/audit.py").run()
    press(page, "Verify the trail")
    said = "Intact: 7 events, 0 of them under signed checkpoints. Root of the tree:"
    assert [success.value for success in page.success] == [said]
    assert actions(trail) == [
        *("login", "configure", "open_study", "load_model", "ask", "answer", "read_trail")
    ]
    with audit.Log(f"sqlite:///{trail}") as log:
        assert page.code[0].value == log.verify().root
        log.sign([create_key(signing_key_path(tmp_path / "keys"), name="example.org/audit")])
    press(page, "Verify the trail")
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
    press(page, "Verify the trail")
    (error,) = page.error
    assert error.value.count("\\*another\\*") == MOST_PROBLEMS
    assert "and 3 more" in error.value


def test_the_trail_is_not_read_where_that_cannot_be_recorded(page: AppTest, trail: Path) -> None:
    open_study(page, sample(MR))
    page.switch_page("pages/audit.py").run()
    with sqlite3.connect(trail) as connection:
        connection.execute("DROP TABLE event")
    press(page, "Verify the trail")
    assert not page.exception
    assert not page.success
    assert len(page.error) == 1


def test_a_report_is_a_draft_until_signed_and_recorded_before_it_is_offered(
    page: AppTest, trail: Path
) -> None:
    page.switch_page("pages/reports.py").run()
    assert "There is nothing to report yet" in words(page)
    open_study(page, sample(MR))
    ask(page)
    page.switch_page("pages/reports.py").run()
    assert not page.exception
    assert list(page.dataframe[0].value["Status"]) == ["Draft"]
    assert list(page.dataframe[1].value["Question"]) == ["Is there a tumor?"]
    assert not page.get("download_button")
    press(page, "Make the report")
    (reported,) = events(trail, "report")
    assert (reported.entity["status"], reported.entity["form"]) == ("preliminary", "pdf")
    assert f"Audit row {reported.sequence}" in words(page)
    assert page.get("download_button")
    page.switch_page("pages/review.py").run()
    judge(page, "amend", "no tumor", "The right answer")
    sign(page)
    page.switch_page("pages/reports.py").run()
    assert list(page.dataframe[0].value["Status"]) == ["Final"]
    assert list(page.dataframe[1].value["Holds"]) == ["no tumor"]
    assert not page.get("download_button")  # what was made is no longer what holds


def test_the_models_page_shows_digests_and_what_was_measured(page: AppTest) -> None:
    page.switch_page("pages/models.py").run()
    assert not page.exception
    identity, figures = (one.value for one in page.dataframe)
    assert all(len(digest) == 64 for digest in identity["SHA-256"] if digest)
    assert "brain finding" in list(figures["Kind of question"])
    assert "at most 5% of the answers given are wrong" in words(page)


@pytest.mark.parametrize("passes", [True, False])
def test_the_models_page_says_what_the_release_gate_found(
    page: AppTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: bool
) -> None:
    figure = {"a": 0.9, "b": 0.8, "change": -0.1, "tolerance": 0.02, "refused": not passes}
    found = {"passes": passes, "why": "accuracy fell", "cases": 40, "figures": {"accuracy": figure}}
    (tmp_path / "comparison.json").write_text(json.dumps(found))
    page.switch_page("pages/models.py").run()
    assert "No result of the release gate lies beside this model" in words(page)
    monkeypatch.setattr("ui.measured.find_checkpoint", lambda _: tmp_path)
    page.run()
    assert not page.exception
    expected = "Passed the release gate on 40 cases" if passes else "the release gate: accuracy fell"
    assert expected in words(page)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("reader", {"worklist", "review", "practice", "models"}),
        ("senior", {"worklist", "review", "reports", "practice", "models"}),
        ("auditor", {"audit", "quality", "models"}),
        ("admin", {"audit", "quality", "models"}),
        (None, set[str]()),
    ],
)
def test_each_page_is_checked_on_the_server_for_whoever_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, role: str | None, allowed: set[str]
) -> None:
    ada = Person(name="ada", role=role, through="proxy")
    monkeypatch.setattr("ui.page.identify", lambda: ada)
    shown: set[str] = set()
    for file in PAGES.with_name("pages").glob("*.py"):
        page = AppTest.from_file(file, default_timeout=200).run()
        assert not page.exception
        if page.subheader:
            shown.add(file.stem)
        else:
            assert "takes the role" in words(page)
    assert shown == allowed


def test_a_reader_is_offered_no_signature_and_no_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.page.identify", lambda: Person(name="dr-17", role="reader", through="proxy"))
    page = AppTest.from_file(PAGES, default_timeout=200).run()
    open_study(page, sample(MR))
    ask(page)
    judge(page, "amend", "nothing", "The right answer")
    assert {"Sign", "Stop", "Resume"}.isdisjoint(button.label for button in page.button)


def test_nobody_who_is_not_logged_in_sees_a_study() -> None:
    configure('proxy_header = "X-User"\n[people]\nada = "reader"\n')
    page = AppTest.from_file(PAGES, default_timeout=200).run()
    assert "Log in to go on." in words(page)
    assert not page.subheader


def test_the_quality_page_counts_what_readers_made_of_answers(page: AppTest, trail: Path) -> None:
    page.switch_page("pages/quality.py").run()
    assert "No answer was given yet." in words(page)
    open_study(page, sample(MR))
    ask(page)
    ask(page, "Which organ is shown?")
    press_first(page, "Agree")
    press(page, "Record: agree")
    page.switch_page("pages/quality.py").run()
    assert not page.exception
    shown = [(metric.label, metric.value) for metric in page.metric]
    assert shown[:2] == [("Reviewed", "1 of 2"), ("Agreed", "1.00")]
    assert len(events(trail, "read_trail")) == 1


def test_the_page_says_that_nobody_logs_in(page: AppTest) -> None:
    assert "Nobody logs in here: whoever sees this page is dr-17." in words(page)


def test_a_model_that_is_not_there_is_one_sentence(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    open_study(page, sample(MR))
    monkeypatch.setenv("MEDVQA_MODEL", "no/such-model")
    ask(page)
    assert not page.exception
    (error,) = page.error
    assert "is neither a folder nor a model in the local cache" in error.value


def test_each_session_is_a_login_and_opening_a_study_is_recorded(page: AppTest, trail: Path) -> None:
    assert actions(trail) == ["login", "configure"]
    page.run()
    open_study(page, sample(MR))
    AppTest.from_file(PAGES, default_timeout=200).run()
    assert actions(trail) == ["login", "configure", "open_study", "login"]
    one, other = events(trail, "login")
    assert one.subject != other.subject
    (opened,) = events(trail, "open_study")
    assert opened.study == str(pydicom.dcmread(sample(MR)).StudyInstanceUID)


def test_nothing_opens_where_it_cannot_be_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDVQA_AUDIT_URL", str(tmp_path))
    page = AppTest.from_file(PAGES, default_timeout=200).run()
    assert not page.exception
    (error,) = page.error
    assert "audit trail" in error.value
    assert not page.text_input


def test_a_session_that_nobody_uses_ends_on_record(
    page: AppTest, trail: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_study(page, sample(MR))
    later = time.monotonic() + 31 * 60
    monkeypatch.setattr("ui.people.time.monotonic", lambda: later)
    page.run()
    assert "This session ended, for nobody used it." in words(page)
    assert "desk" not in page.session_state
    ((login,), (logout,)) = events(trail, "login"), events(trail, "logout")
    assert (logout.subject, logout.entity["reason"]) == (login.subject, "not used")
    press(page, "Begin again")
    assert "No study is open" in words(page)


def test_markdown_in_data_stays_text() -> None:
    assert plain("![a](http://b) *c* $d$ :red[e] <f>") == (
        r"\!\[a\]\(http\:\/\/b\) \*c\* \$d\$ \:red\[e\] \<f\>"
    )


def test_a_second_reader_is_not_told_what_the_first_said(
    trail: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure("double_reading = true\n")
    pages: dict[str, AppTest] = {}
    for name in ("dr-17", "dr-18", "dr-19"):
        monkeypatch.setenv("MEDVQA_AGENT", name)
        pages[name] = AppTest.from_file(PAGES, default_timeout=200).run()
        open_study(pages[name], sample(MR))
    monkeypatch.setenv("MEDVQA_AGENT", "dr-17")
    ask(pages["dr-17"])
    judge(pages["dr-17"], "amend", "a cyst", "The right answer")
    assert "a cyst" in words(pages["dr-17"])
    assert "another person has to review" in words(pages["dr-17"]).lower()
    monkeypatch.setenv("MEDVQA_AGENT", "dr-18")
    second = pages["dr-18"].run()
    assert "Audit row" in words(second)
    assert "a cyst" not in words(second)
    judge(second, "reject", "nothing there", "Why it is rejected")
    assert "a cyst" in words(second)
    assert "a third one has to review" in words(second)
    second.switch_page("pages/worklist.py").run()
    assert not second.exception
    monkeypatch.setenv("MEDVQA_AGENT", "dr-19")
    third = pages["dr-19"].run()
    judge(third, "reject", "nothing there", "Why it is rejected")
    write(third, "Type dr-19 to sign", "dr-19")
    press(third, "Sign")
    assert len(events(trail, "sign")) == 1


def test_disagreements_are_listed_for_whoever_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "mr.dcm").write_bytes(sample(MR).read_bytes())
    configure('double_reading = true\nstudies = "studies"\n')
    page = AppTest.from_file(PAGES, default_timeout=200).run()
    assert "Two readers differ" not in words(page)
    open_study(page, tmp_path / "studies" / "mr.dcm")
    ask(page)
    judge(page, "amend", "a cyst", "The right answer")
    monkeypatch.setenv("MEDVQA_AGENT", "dr-18")
    other = AppTest.from_file(PAGES, default_timeout=200).run()
    open_study(other, tmp_path / "studies" / "mr.dcm")
    judge(other, "reject", "nothing there", "Why it is rejected")
    other.switch_page("pages/worklist.py").run()
    assert "Two readers differ about 1 answer" in words(other)
    (line,) = other.dataframe[1].value.to_dict("records")
    assert (line["First reader"], line["Second reader"]) == (
        "dr-17, amend: a cyst",
        "dr-18, reject: nothing there",
    )


def test_practice_shows_an_answer_takes_a_verdict_and_tells_what_was_right(
    trail: Path, tmp_path: Path
) -> None:
    page = AppTest.from_file(PAGES, default_timeout=200).run()
    page.switch_page("pages/practice.py").run()
    assert "There is nothing to practise on" in words(page)
    dicom_builder.write(tmp_path / "Doe^Jane.dcm", dicom_builder.image())
    lines = [
        f'{{"image": "Doe^Jane.dcm", "question": "Is there a mass? {number}", "answer": "no"}}\n'
        for number in range(4)
    ]
    (tmp_path / "cases.jsonl").write_text("".join(lines))
    configure('practice = "cases.jsonl"\n')
    page = AppTest.from_file(PAGES, default_timeout=200).run()
    page.switch_page("pages/practice.py").run()
    for number in range(4):
        assert not page.exception
        assert f"Exercise {number + 1} of 4" in words(page)
        assert "The right answer" not in words(page)
        press(page, "Agree")
        press(page, "Record: agree")
        assert "The right answer: no" in words(page)
        page.run()
        press(page, "Next")
    assert "You have done every exercise." in words(page)
    planted = [bool(event.entity["planted"]) for event in events(trail, "practice")]
    assert len(planted) == 4
    followed = next(one for one in page.metric if one.label == "Followed when wrong")
    assert followed.value == (f"100% of {sum(planted)}" if any(planted) else "–")
    again = AppTest.from_file(PAGES, default_timeout=200).run()
    again.switch_page("pages/practice.py").run()
    assert "You have done every exercise." in words(again)
    again.switch_page("pages/quality.py").run()
    assert not again.exception
    (line,) = again.dataframe[0].value.to_dict("records")
    assert (line["Reader"], line["Wrong answers shown"]) == ("dr-17", sum(planted))


def test_the_models_page_knows_little_of_a_model_on_a_server(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chat_server(lambda _: [{"yes": 0.8, "no": 0.2}]) as server:
        monkeypatch.setenv("MEDVQA_MODEL", server.address)
        page.switch_page("pages/models.py").run()
        assert "set remote" in page.error[0].value
        monkeypatch.setenv("MEDVQA_REMOTE", "true")
        page.run()
        assert not page.error
        assert not page.exception
        assert UNKNOWN in page.dataframe[0].value["SHA-256"].tolist()
        assert "on a server" in page.info[0].value
