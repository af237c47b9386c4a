"""Running `medvqa audit` in the tests' own process, and in one of its own; see `audit_place` for where."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

import audit
from medvqa.cli import app

ROOT = Path(audit.__file__).parents[1]

runner = CliRunner()


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
