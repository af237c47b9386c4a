"""The command line: commands that are loaded when they run, exit codes, and examples in every help."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from audit_commands import ROOT, medvqa_process, runner

import audit
import medvqa.cli
from medvqa.cli import app
from medvqa.cli.audit import COMMANDS
from medvqa.errors import GateError

pytest_plugins = ["audit_place"]
MODEL_LIBRARIES = ("torch", "transformers", "monai", "pydicom", "captum", "streamlit", "numpy")
HEAVY = (*MODEL_LIBRARIES, "sqlalchemy")
EVERY_COMMAND = [*sorted(COMMANDS.keys() - {"key"}), "key create", "key rotate", "key show"]


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_each_help_of_the_trail_teaches_with_an_example(command: str) -> None:
    result = runner.invoke(app, ["audit", *command.split(), "--help"], catch_exceptions=False)
    assert f"Example: medvqa audit {command}" in " ".join(result.stdout.split())


def test_listing_the_trail_imports_no_model_library(place: Path) -> None:
    audit.Log(f"sqlite:///{place / 'the trail.sqlite'}").close()
    code = (
        "import sys, medvqa.cli\ntry: medvqa.cli.main()\n"
        f"finally: print([name for name in {MODEL_LIBRARIES} if name in sys.modules], file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, "audit", "list"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "[]\n")


def test_a_settings_file_that_is_wrong_is_named(place: Path) -> None:
    (place / "medvqa.toml").write_text("modle = 1")
    result = medvqa_process("audit", "list")
    assert result.returncode == 8
    assert "key 'modle' in medvqa.toml is unknown" in result.stderr


def test_help_lists_every_command_and_imports_no_heavy_library() -> None:
    code = (
        "import sys, medvqa.cli\ntry: medvqa.cli.main()\n"
        f"finally: print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, "--help"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert result.stderr == "[]\n"
    for name, (_, line) in medvqa.cli.COMMANDS.items():
        assert name in result.stdout
        assert line in result.stdout


def test_no_arguments_print_the_help_and_version_prints_the_version() -> None:
    assert "Usage: medvqa" in runner.invoke(app, []).output
    result = runner.invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("medvqa")


def test_a_mistyped_command_is_a_usage_error_with_a_suggestion() -> None:
    result = runner.invoke(app, ["adit"])
    assert result.exit_code == 2
    assert "Did you mean 'audit'?" in result.stderr


def ask(study: Path, *, question: str = "why", fail: bool = False) -> None:
    """Stands in for a command that is a plain function."""
    if fail:
        raise GateError("the image is a scanned document; give an image")
    typer.echo(f"{study.name}: {question}")


@pytest.fixture
def function_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(medvqa.cli.COMMANDS, "ask", (f"{__name__}:ask", "Ask."))


@pytest.mark.usefixtures("function_command")
def test_a_function_becomes_a_command_with_its_own_help() -> None:
    assert runner.invoke(app, ["ask", "scan.dcm", "--question", "what"]).stdout == "scan.dcm: what\n"
    shown = runner.invoke(app, ["ask", "--help"]).stdout
    assert "Stands in for a command" in shown
    assert "--question" in shown
    assert "study" in shown.lower()


@pytest.mark.usefixtures("function_command")
def test_main_turns_errors_into_exit_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["medvqa", "ask", "scan.dcm", "--fail"])
    with pytest.raises(SystemExit) as exit_:
        medvqa.cli.main()
    assert exit_.value.code == GateError.exit_code
    assert capsys.readouterr().err == "medvqa: error: the image is a scanned document; give an image\n"


def test_an_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("medvqa.cli.lazy.load_command", interrupted)
    monkeypatch.setattr(sys, "argv", ["medvqa", "ask"])
    with pytest.raises(SystemExit) as exit_:
        medvqa.cli.main()
    assert exit_.value.code == 130
