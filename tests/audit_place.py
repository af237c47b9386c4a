"""A plugin: the fixtures `place`, a folder for `medvqa audit`, and `trail`, with a small trail in it."""

from pathlib import Path

import pytest
from audit_commands import entry

import audit


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder whose trail is `the trail.sqlite`, read by a compliance officer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MEDVQA_CONFIG", raising=False)
    monkeypatch.setenv("MEDVQA_AUDIT_URL", "the trail.sqlite")
    monkeypatch.setenv("MEDVQA_KEY_FOLDER", "keys")
    monkeypatch.setenv("MEDVQA_AGENT", "officer")
    monkeypatch.setenv("MEDVQA_ROLE", "compliance officer")
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def trail(place: Path) -> Path:
    """Six events about two studies."""
    path = place / "the trail.sqlite"
    one = {"study": "1.2.3", "patient": "P-1", "model": "a" * 64}
    two = {"study": "1.2.4", "patient": "P-2", "model": "b" * 64}
    sure, unsure = {"verdict": "grounded", "confidence": 0.9}, {"verdict": "unsure", "confidence": 0.25}
    steering, quoted = {"text": "no\u202e\x1b[31m"}, {"text": 'a "mass"'}
    entries = [
        entry("dr-17", "open_study", "1.2.3", study="1.2.3", patient="P-1", entity={"images": 1}),
        entry("dr-17", "answer", "answer-1", **one, **sure, entity=steering),
        entry("dr-18", "review", "answer-1", **one, verdict="agree", entity={}),
        entry("dr-17", "answer", "[red]answer-2", **two, **unsure, entity=quoted),
        entry("dr-19", "review", "[red]answer-2", **two, verdict="reject", entity={"text": "=1+1"}),
        entry("dr-17", "refuse", "answer-3", **two, outcome="refused", entity={"reason": "blank"}),
    ]
    with audit.Log(f"sqlite:///{path}") as log:
        log.append_all(entries)
    return path
