"""Every file that pydicom tests itself with is answered about, or ends in one clear sentence."""

from __future__ import annotations

import warnings
from collections import defaultdict
from pathlib import Path

import pytest
from test_dicom_testfiles import FILES, ROOT, expectation

from audit import Log
from medvqa.assistant import Assistant
from medvqa.errors import DicomError, GateError, MedvqaError
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.study import read_study

REFUSED_BY_GATE: dict[str, str] = {}
"""By name of the file: what the gate says of it. None of these files shows one grey by every window."""


@pytest.mark.slow
@pytest.mark.usefixtures("no_network")
@pytest.mark.timeout(600)
def test_each_image_gets_an_answer_and_all_else_one_sentence(
    default_model: HuggingFaceModel, tmp_path: Path
) -> None:
    outcomes: defaultdict[str, list[Path]] = defaultdict(list)
    with Log(f"sqlite:///{tmp_path / 'audit.sqlite'}") as log, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assistant = Assistant(default_model, audit=log)
        for path in FILES:
            outcomes[outcome(assistant, path)].append(path)
        assert log.verify().intact
        recorded = [(event.action, event.outcome) for event in log.read(limit=1000)]
    assert recorded.count(("answer", "success")) == len(outcomes["answered"])
    assert recorded.count(("refuse", "refused")) == len(outcomes["refused"])
    assert recorded.count(("refuse", "failed")) <= len(outcomes["unreadable"])  # some are not even opened
    assert {path.name for path in outcomes["refused"]} == set(REFUSED_BY_GATE)
    assert set(outcomes["answered"] + outcomes["refused"]) == {
        path for path in FILES if expectation(path) == "image"
    }
    assert len(outcomes["answered"]) > 80


def outcome(assistant: Assistant, path: Path) -> str:
    try:
        answer = assistant.ask(read_study(path), "Is there a tumor?")
    except MedvqaError as error:
        text = str(error)
        where = path.relative_to(ROOT)
        assert "\n" not in text, where
        assert 20 < len(text) < 400, where
        assert "Traceback" not in text, where
        if isinstance(error, GateError):
            assert REFUSED_BY_GATE[path.name] in text, where
            return "refused"
        assert isinstance(error, DicomError), where
        return "unreadable"
    assert 0 <= answer.checks.confidence <= 1
    assert answer.audit_id > 0
    return "answered"
