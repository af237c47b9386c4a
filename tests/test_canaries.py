"""What identifies a person or an institution in a study reaches nothing that medvqa writes, prints or logs.

Canaries stand in every attribute of pydicom's dictionary that holds words or dates, in sequences and private
attributes, and in the names of files and folders. Then the real path is walked: reading, answers with
heatmaps, refusals, broken pixels, reviews, signatures, exports, a report, the commands, the pages. Two limits
are left out, since they are meant: a question or review is recorded as it is written, and an error tells the
person who named a file which one it is about.
"""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import dicom_builder
import numpy as np
import pydicom
import pytest
from planting import DATE_CANARY, HEADER_CANARY, planted
from streamlit.testing.v1 import AppTest

import medvqa
import ui
from audit import Log
from audit.export import Form, export
from medvqa.assistant import Assistant
from medvqa.demo import run_demo
from medvqa.errors import GateError, MedvqaError, PixelError
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.records import Agent
from medvqa.sessions import begin_session
from ui.stack_viewer.packets import pack_frame

pytestmark = pytest.mark.slow

PATH_CANARY = "PATHCANARYZK"
HEADER_CANARIES = [
    text.encode(encoding)
    for text in (HEADER_CANARY, DATE_CANARY, "1901-02-03")
    for encoding in ("utf-8", "utf-16-le")
]
QUESTION = "Is there a tumor?"
ROOT = Path(medvqa.__file__).parents[1]
PAGE = Path(ui.__file__).with_name("app.py")


@dataclass(frozen=True)
class Walked:
    """What came of a walk: files, what was said, and what was said about files that were named."""

    place: Path
    planted: tuple[Path, ...]
    said: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def trail(self) -> str:
        return str(self.place / "trail" / "audit.sqlite")

    def files(self) -> list[Path]:
        hidden = self.place / "in"
        return [path for path in self.place.rglob("*") if hidden not in (path, *path.parents)]

    def kept(self) -> Iterator[tuple[str, bytes]]:
        """Everything to look through, by what to call it."""
        yield (
            "the names of files",
            "\n".join(str(path.relative_to(self.place)) for path in self.files()).encode(),
        )
        for path in self.files():
            if path.is_file():
                yield path.name, path.read_bytes()
        for number, text in enumerate(self.said):
            yield f"said {number}", text.encode()


@pytest.fixture(scope="module")
def walked(default_model: HuggingFaceModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walked]:
    place = tmp_path_factory.mktemp("walk")
    walk = Walked(place=place, planted=write_studies(place / "in" / f"{PATH_CANARY} FOLDER"))
    with pytest.MonkeyPatch.context() as patch, everything_said(walk):
        for name in ("trail", "temporary", "elsewhere"):
            (place / name).mkdir()
        patch.setattr(tempfile, "tempdir", str(place / "temporary"))
        patch.setenv("TMPDIR", str(place / "temporary"))
        patch.setenv("MEDVQA_AUDIT_URL", walk.trail)
        patch.setenv("MEDVQA_KEY_FOLDER", str(place / "keys"))
        patch.chdir(place / "elsewhere")
        with Log(f"sqlite:///{walk.trail}") as log:
            assistant = Assistant(default_model, audit=log, agent="dr-17", key_folder=place / "keys")
            walk_in_python(walk, assistant)
            walk_through_the_demonstration(walk, assistant, patch)
            walk_through_the_commands(walk)
            walk_through_the_pages(walk)
            walk_through_exports(walk, log)
            # The log stays open, so that the write-ahead log is looked through as well.
            yield walk


def write_studies(folder: Path) -> tuple[Path, ...]:
    noise = np.random.default_rng(0).integers(-100, 300, (48, 40)).astype(np.int16)
    broken = planted(noise, number=3, StudyInstanceUID="1.2.3.3")
    broken.PixelData = broken.PixelData[:100]
    studies = {
        "good": planted(noise),
        "blank": planted(np.zeros((48, 40), np.int16), number=2, StudyInstanceUID="1.2.3.2"),
        "broken": broken,
        "plain": planted(noise, number=4, StudyInstanceUID="1.2.3.4", Modality="MR"),
    }
    return tuple(
        dicom_builder.write(folder / f"{PATH_CANARY} {name}.dcm", dataset)
        for name, dataset in studies.items()
    )


@contextmanager
def everything_said(walk: Walked) -> Iterator[None]:
    """Keep every log record, whatever its level, and every warning."""
    stream = io.StringIO()
    handler, root = logging.StreamHandler(stream), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    walk.said.extend([stream.getvalue(), *(str(one.message) for one in caught)])


def walk_in_python(walk: Walked, assistant: Assistant) -> None:
    good, blank, broken, _ = walk.planted
    study = assistant.open_study(good)
    for method in ("attention", "integrated_gradients"):
        answer = assistant.ask(study, QUESTION, heatmap=method)
        answer.heatmap.save(walk.place / "elsewhere" / f"{method}.png")
        walk.said.append(repr((study, study.images[0], answer)))
    assistant.review(answer.answer_id, verdict="amend", text="left lower lobe")
    assistant.sign(answer.answer_id, meaning="approved")
    refused(walk, GateError, lambda: assistant.ask(assistant.open_study(blank), QUESTION))
    refused(walk, PixelError, lambda: assistant.ask(assistant.open_study(broken), QUESTION))
    refused(walk, MedvqaError, lambda: assistant.open_study(good.parent))
    refused(walk, MedvqaError, lambda: assistant.ask(study, QUESTION, image_number=7))


def refused(walk: Walked, error: type[Exception], act: Callable[[], Any]) -> None:
    with pytest.raises(error) as caught:
        act()
    walk.errors.append(str(caught.value))


def walk_through_the_demonstration(walk: Walked, assistant: Assistant, patch: pytest.MonkeyPatch) -> None:
    """Its report, about a planted study in place of pydicom's."""
    patch.setattr("medvqa.demo.get_testdata_file", lambda *_, **__: str(walk.planted[0]))
    session = begin_session(assistant.audit, Agent(name="dr-17"), key_folder=walk.place / "keys")
    run_demo(
        session, assistant, walk.place / "demo", on_answer=lambda shown, _: walk.said.append(repr(shown))
    )


def walk_through_the_commands(walk: Walked) -> None:
    good, blank, broken, _ = walk.planted
    out = ["--heatmap", "attention", "--out", str(walk.place / "out"), "--json"]
    answer_id = json.loads(command(walk, "ask", str(good), QUESTION, *out))["answer_id"]
    command(walk, "ask", str(good), QUESTION)
    for study in (blank, broken, good.parent):
        command(walk, "ask", str(study), QUESTION, fails=True)
    command(walk, "review", answer_id, "--verdict", "agree")
    command(walk, "audit", "list", "--json")
    command(walk, "audit", "show", answer_id)


def command(walk: Walked, *arguments: str, fails: bool = False) -> str:
    """Run in a process of its own that shows every warning; return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "always", "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", "medvqa", *arguments], env=environment, capture_output=True, text=True
    )
    assert (ended.returncode != 0) == fails, ended.stderr
    walk.said.append(ended.stdout)
    (walk.errors if fails else walk.said).append(ended.stderr)
    return ended.stdout


def walk_through_the_pages(walk: Walked) -> None:
    page = AppTest.from_file(PAGE, default_timeout=200)
    for study in (walk.planted[1], walk.planted[3]):
        page.switch_page("pages/worklist.py").run()
        page.text_input(key="path").set_value(str(study))
        next(button for button in page.button if button.label == "Open").click().run()
        page.switch_page("pages/review.py").run()
        page.text_input(key="question").set_value(QUESTION)
        next(button for button in page.button if button.label == "Ask").click().run()
        assert not page.exception
        groups = (page.markdown, page.caption, page.warning, page.error, page.html, page.metric)
        walk.said.extend(str(element.proto) for group in groups for element in group)
        frame = page.session_state.desk.study.frames[0]
        walk.said.append(pack_frame(frame)[:1000].decode("latin-1"))
    page.switch_page("pages/audit.py").run()
    next(button for button in page.button if button.label == "Search").click().run()
    walk.said.append(page.dataframe[0].value.to_csv())
    assert any(QUESTION in text for text in walk.said)


def walk_through_exports(walk: Walked, log: Log) -> None:
    for form in get_args(Form):
        written = io.StringIO()
        export(log, written, form=form)
        walk.said.append(written.getvalue())


def test_what_stands_in_headers_is_nowhere(walked: Walked) -> None:
    found = [name for name, content in walked.kept() if any(canary in content for canary in HEADER_CANARIES)]
    assert found == []
    assert [error for error in walked.errors if HEADER_CANARY in error or DATE_CANARY in error] == []


def test_names_of_files_and_folders_are_in_sentences_about_them_alone(walked: Walked) -> None:
    assert [name for name, content in walked.kept() if PATH_CANARY.encode() in content] == []
    assert any(PATH_CANARY in error for error in walked.errors)


def test_the_walk_went_everywhere(walked: Walked) -> None:
    with Log(f"sqlite:///{walked.trail}") as log:
        assert log.verify().intact
        events = list(log.read())
    recorded = {(event.action, event.outcome) for event in events}
    done = ("login", "configure", "load_model", "open_study", "ask", "answer", "explain", "review", "sign")
    assert recorded >= {(action, "success") for action in (*done, "report", "export", "read_trail")}
    assert recorded >= {("refuse", "refused"), ("refuse", "failed")}
    assert len({event.patient for event in events if event.study == dicom_builder.STUDY_UID}) == 1
    endings = {path.suffix for path in walked.files() if path.is_file()}
    assert endings >= {".sqlite", ".sqlite-wal", ".json", ".png", ".npy", ".html", ".key"}


def test_the_canaries_are_really_there(walked: Walked) -> None:
    path = walked.planted[0]
    dataset = pydicom.dcmread(path)
    planted_in = [element.keyword for element in dataset if HEADER_CANARY in str(element.value)]
    assert len(planted_in) > 700
    assert {"PatientName", "PatientID", "IssuerOfPatientID", "OtherPatientIDs", "InstitutionAddress"} <= {
        *planted_in
    }
    assert dataset.PatientBirthDate == DATE_CANARY
    assert PATH_CANARY in path.name


def test_the_watch_sees_a_canary_that_is_recorded(
    default_model: HuggingFaceModel, tmp_path: Path, walked: Walked
) -> None:
    """The question is recorded as it was asked: this is also the documented limit."""
    with Log(f"sqlite:///{tmp_path / 'audit.sqlite'}") as log:
        assistant = Assistant(default_model, audit=log, key_folder=tmp_path / "keys")
        assistant.ask(medvqa.read_study(walked.planted[0]), f"Does {HEADER_CANARY} have a tumor?")
        kept = dict(Walked(place=tmp_path, planted=()).kept())
    assert any(HEADER_CANARY.encode() in content for content in kept.values())
