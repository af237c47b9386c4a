"""`medvqa results`: recorded before it is written, named after answers; else one sentence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from command_line import run_medvqa
from pydicom import dcmread
from reported import answer
from test_dicom_out import task_done

from audit import Entry, Event, Log
from audit.errors import AppendError
from medvqa.errors import RecordError
from medvqa.records import Agent
from medvqa.sessions import Session, begin_session
from medvqa.simulated_study import write_simulated_study
from medvqa.study import read_study
from medvqa.tasks.results import Mask, Masks


@pytest.fixture(autouse=True)
def place(own_place: None) -> None:
    """Every command works in a folder of its own."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_simulated_study(tmp_path / "study", seed=7)
    return tmp_path / "study"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Log(f"sqlite:///{tmp_path / 'trail.sqlite'}") as log:
        yield begin_session(log, Agent(name="dr-17"), key_folder=tmp_path / "keys")


def test_objects_are_recorded_then_written(
    session: Session, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_id = answer(session, read_study(path), "yes")
    assert run_medvqa("results", path, "--out", tmp_path / "out", "--only", "sr,pdf", "--json") == 0
    printed = json.loads(capsys.readouterr().out)["objects"]
    written = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    assert set(written) == {f"sr-{answer_id}.dcm", "pdf-report.dcm"}
    event = list(session.log.read())[-1]
    assert (event.action, event.subject) == ("export", read_study(path).study_instance_uid)
    digests = {hashlib.sha256(content).hexdigest() for content in written.values()}
    assert {one["sha256"] for one in event.entity["objects"]} == digests
    assert {one["sha256"] for one in printed} == digests
    assert {dcmread(one["file"]).SOPInstanceUID for one in printed} == {
        one["sop_instance_uid"] for one in event.entity["objects"]
    }
    assert run_medvqa("results", path, "--out", tmp_path / "none", "--only", "map") == 2
    assert "--heatmap" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_nothing_is_written_unless_it_is_recorded(
    session: Session, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(session, read_study(path), "yes")
    append = Log.append_all

    def full(log: Log, entries: Sequence[Entry]) -> tuple[Event, ...]:
        if any(entry.action == "export" for entry in entries):
            raise AppendError("the disk is full")
        return append(log, entries)

    monkeypatch.setattr(Log, "append_all", full)
    assert run_medvqa("results", path, "--out", tmp_path / "out", "--only", "sr") == RecordError.exit_code
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--only", "sr,dance"], 2, "'dance' is not one of sr, map, capture, seg, pdf"),
        (["--heatmap", "tea leaves"], 2, "is not one of attention"),
        (["--masks", "missing.json"], 13, "is not a result of the task segment"),
        ([], 3, "ask first"),
        (["--only", "map"], 3, "ask first"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    session: Session,  # noqa: ARG001
    path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    said: str,
) -> None:
    assert run_medvqa("results", path, "--out", tmp_path / "out", *options) == code
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_outlines_come_from_the_file_that_the_task_wrote(
    session: Session, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = read_study(path)
    bits = np.zeros(study.images[1].shape, dtype=bool)
    bits[30:50, 60:70] = True
    content = Masks(rows=bits.shape[0], columns=bits.shape[1], masks=(Mask.of(bits, label="nodule"),))
    result_id = task_done(session, study, content)
    described = {"result_id": result_id, "content": content.model_dump(mode="json")}
    (tmp_path / "result.json").write_text(json.dumps(described))
    arguments = ("results", path, "--out", tmp_path / "out", "--masks", tmp_path / "result.json")
    assert run_medvqa(*arguments, "--only", "seg") == 0
    (segments,) = (tmp_path / "out").iterdir()
    assert (dcmread(segments).pixel_array.astype(bool) == bits).all()
    assert str(segments) in capsys.readouterr().out


@pytest.mark.slow
def test_answers_are_explained_anew_by_the_model_that_gave_them(
    session: Session, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = answer(session, read_study(path), "yes")
    assert run_medvqa("ask", path, "Where is the nodule?", "--image", "2") == 0
    capsys.readouterr()
    assert run_medvqa("results", path, "--out", tmp_path / "out", "--heatmap", "occlusion") == 0
    assert f"{other} is not explained" in capsys.readouterr().err
    maps = list((tmp_path / "out").glob("map-*.dcm"))
    explained = [event for event in session.log.read() if event.action == "explain"]
    assert [f"map-{event.subject}.dcm" for event in explained] == [file.name for file in maps]
    assert len(maps) == 1
