"""Running `medvqa audit` in a folder with a small trail: a plugin with the fixtures `place` and `trail`."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

import audit
from medvqa.cli import app

ROOT = Path(audit.__file__).parents[1]

runner = CliRunner()


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


def entry(agent: str, action: str, subject: str, **fields: Any) -> audit.Entry:
    return audit.Entry(agent=agent, action=action, subject=subject, **fields)


def run(*arguments: str) -> Result:
    """Run a command of `medvqa audit` here; errors pass, as they do until `main` tells them."""
    return runner.invoke(app, ["audit", *arguments])


def ok(*arguments: str) -> str:
    """What a command prints on stdout; it must succeed."""
    result = runner.invoke(app, ["audit", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def complaint_of(result: Result) -> str:
    """What a usage error says, out of its frame."""
    return " ".join(result.stderr.replace("│", " ").split())


def rows(*arguments: str) -> list[int]:
    """Numbers of the rows that a command lists."""
    return [event["sequence"] for event in json.loads(ok(*arguments, "--json"))]


def events(path: Path) -> Iterator[audit.Event]:
    """What the trail holds now."""
    with audit.Log(f"sqlite:///{path}", create=False) as log:
        yield from log.read()


def medvqa_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "medvqa", *arguments]
    return subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
