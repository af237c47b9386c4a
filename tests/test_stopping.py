"""The stop switch: nothing is asked of the model about a study, or about any, until somebody resumes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dicom_builder import STUDY_UID, image, write

from audit import Filter, Log
from medvqa import Assistant
from medvqa.errors import ReviewError, StoppedError
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.records import Agent
from medvqa.sessions import Session, begin_session
from medvqa.stopping import resume, stop, stopped
from medvqa.study import read_study

OTHER = f"{STUDY_UID}.7"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with Log(f"sqlite:///{tmp_path / 'trail.sqlite'}") as opened:
        yield opened


@pytest.fixture
def session(log: Log, tmp_path: Path) -> Session:
    return begin_session(log, Agent(name="dr-17", role="senior"), key_folder=tmp_path / "keys")


def test_what_was_stopped_stays_so_until_it_is_resumed(session: Session, log: Log) -> None:
    assert stopped(log) is None
    stop(session, reason=" strange answers ", study=STUDY_UID)
    event = stopped(log, STUDY_UID)
    assert event is not None
    assert (event.agent, event.study, event.entity) == ("dr-17", STUDY_UID, {"reason": "strange answers"})
    assert stopped(log) is None
    assert stopped(log, OTHER) is None
    resume(session, reason="looked into", study=STUDY_UID)
    assert stopped(log, STUDY_UID) is None


def test_a_study_stopped_by_itself_outlasts_the_switch_for_all(session: Session, log: Log) -> None:
    stop(session, reason="one", study=STUDY_UID)
    stop(session, reason="all")
    resume(session, reason="all again")
    assert stopped(log) is None
    assert stopped(log, STUDY_UID) is not None


def test_nobody_stops_or_resumes_without_a_reason(session: Session, log: Log) -> None:
    before = log.size()
    for switch in (stop, resume):
        with pytest.raises(ReviewError, match="say why"):
            switch(session, reason=" ")
    assert log.size() == before


@pytest.mark.parametrize("study", [STUDY_UID, None])
def test_a_stopped_question_is_refused_and_recorded(
    default_model: HuggingFaceModel,
    session: Session,
    log: Log,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    study: str | None,
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the model was asked")

    assistant = Assistant(default_model, audit=log, agent="dr-17", key_folder=tmp_path / "keys")
    opened = read_study(write(tmp_path / "x.dcm", image()))
    stop(session, reason="strange answers", study=study)
    monkeypatch.setattr(HuggingFaceModel, "generate", never)
    with pytest.raises(StoppedError, match=r"stopped by dr-17 \(strange answers\)"):
        assistant.ask(opened, "Why?")
    asked = list(log.read(Filter(study=STUDY_UID)))
    assert [event.action for event in asked][-2:] == ["ask", "refuse"]
