"""`medvqa ui`: how the screens are found and started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import ui
from medvqa.cli import app as cli
from medvqa.cli.ui import find_server
from medvqa.errors import MedvqaError

FOLDER = Path(ui.__file__).parent


def test_no_file_bears_the_name_of_a_package() -> None:
    """Streamlit puts the folder first on the path: such a file would be imported in the package's stead."""
    names = [path.stem for path in FOLDER.iterdir() if path.stem != "__init__" and path.stem != "__pycache__"]
    code = f"import importlib.util as u; print([name for name in {names} if u.find_spec(name)])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert run.stdout == "[]\n"


def test_the_command_starts_streamlit_on_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    started: dict[str, Any] = {}

    def execve(path: str, command: list[str], environment: dict[str, str]) -> None:
        started.update(path=path, command=command, env=environment)

    monkeypatch.setattr("medvqa.cli.ui.os.execve", execve)
    result = CliRunner().invoke(cli, ["ui", "--port", "8601", "--audit", "other.sqlite", "--model", "m"])
    assert result.exit_code == 0
    command = started["command"]
    assert started["path"] == sys.executable
    assert command[:5] == [sys.executable, "-m", "streamlit", "run", str(FOLDER / "server.py")]
    assert {"--server.port=8601", "--server.address=127.0.0.1", "--browser.gatherUsageStats=false"} <= set(
        command
    )
    assert started["env"]["MEDVQA_AUDIT_URL"].endswith("/other.sqlite")
    assert started["env"]["MEDVQA_MODEL"] == "m"


@pytest.mark.usefixtures("own_place")
def test_another_address_is_warned_of_unless_people_log_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr("medvqa.cli.ui.os.execve", lambda _, command, __: commands.append(command))
    result = CliRunner().invoke(cli, ["ui", "--host", "192.0.2.7"])
    assert "without a login" in result.stderr
    (tmp_path / "medvqa.toml").write_text('[people]\ndr-17 = "reader"\n')
    assert "without a login" not in CliRunner().invoke(cli, ["ui", "--host", "192.0.2.7"]).stderr
    assert all("--server.address=192.0.2.7" in command for command in commands) and len(commands) == 2


def test_missing_screens_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medvqa.cli.ui.find_spec", lambda _: None)
    with pytest.raises(MedvqaError, match="the screens are not installed"):
        find_server()
