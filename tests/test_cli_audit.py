"""The command line: lazy commands, exit codes, and `medvqa audit` for people and for scripts."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import audit
import medvqa.cli
from medvqa.cli import app
from medvqa.errors import GateError

ROOT = Path(audit.__file__).parents[1]
HEAVY = ("torch", "transformers", "monai", "pydicom", "captum", "streamlit", "sqlalchemy", "numpy")

runner = CliRunner()


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MEDVQA_CONFIG", raising=False)
    monkeypatch.setenv("MEDVQA_AUDIT_URL", "the trail.sqlite")
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    path = tmp_path / "the trail.sqlite"
    with audit.Log(f"sqlite:///{path}") as log:
        log.append(agent="dr-17", action="answer", subject="answer-1", entity={"text": "no\u202e\x1b[31m"})
        log.append(agent="dr-17", action="answer", subject="[red]answer-2", entity={"text": "yes", "p": 0.5})
        log.append(agent="dr-18", action="review", subject="answer-1", entity={"verdict": "agree"})
    return path


def tamper(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        sql = connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'event_never_updated'"
        ).fetchone()[0]
        connection.execute("DROP TRIGGER event_never_updated")
        connection.execute("UPDATE event SET agent = 'other' WHERE sequence = 2")
        connection.execute(sql)
    connection.close()


def ok(*arguments: str) -> str:
    result = runner.invoke(app, ["audit", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def medvqa_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "medvqa", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("trail")
def test_list_shows_the_newest_first() -> None:
    lines = ok("list").splitlines()
    assert lines[0].split() == ["#", "recorded", "(UTC)", "agent", "action", "subject"]
    assert [line.split()[0] for line in lines[1:]] == ["3", "2", "1"]
    assert lines[2].split()[-3:] == ["dr-17", "answer", "[red]answer-2"]


@pytest.mark.usefixtures("trail")
def test_list_filters_and_limits_as_json() -> None:
    events = json.loads(ok("list", "--action", "answer", "--limit", "1", "--json"))
    assert [event["sequence"] for event in events] == [2]
    assert events[0]["entity"] == {"text": "yes", "p": 0.5}
    assert set(events[0]) == set(audit.Event.__dataclass_fields__)


@pytest.mark.usefixtures("trail")
def test_show_takes_a_row_or_an_answer_id() -> None:
    assert [event["sequence"] for event in json.loads(ok("show", "2", "--json"))] == [2]
    assert [event["action"] for event in json.loads(ok("show", "answer-1", "--json"))] == ["answer", "review"]


@pytest.mark.usefixtures("trail")
def test_show_prints_the_entity_and_escapes_what_steers_a_terminal() -> None:
    output = ok("show", "1")
    assert '"text": "no\\u202e\\u001b[31m"' in output
    assert "\x1b" not in output
    assert "\u202e" not in output
    assert "dr-17" in output


@pytest.mark.usefixtures("trail")
def test_show_cuts_no_digest_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    digest = json.loads(ok("show", "1", "--json"))[0]["hash"]
    assert digest in "".join(line[15:].strip() for line in ok("show", "1").splitlines())


@pytest.mark.usefixtures("trail")
def test_show_of_an_unknown_event_says_where_to_look() -> None:
    for reference in ("9", "9" * 30, "answer-9"):
        result = runner.invoke(app, ["audit", "show", reference])
        assert str(result.exception) == f"the audit trail holds no event {reference}; see `medvqa audit list`"


@pytest.mark.usefixtures("trail")
def test_verify_an_intact_trail_prints_the_head_to_note() -> None:
    output = ok("verify")
    head = json.loads(ok("verify", "--json"))["head"]
    assert "intact: 3 events" in output
    assert f"head {head}" in output
    assert "Note this head elsewhere" in output


@pytest.mark.usefixtures("trail")
def test_verify_checks_a_noted_head() -> None:
    head = json.loads(ok("show", "2", "--json"))[0]["hash"]
    assert "the head that you noted is row 2" in ok("verify", "--head", head)
    result = runner.invoke(app, ["audit", "verify", "--head", "0" * 63 + "7"])
    assert result.exit_code == 1
    assert "the expected head is not in the trail" in result.stdout


def test_verify_names_the_broken_row_and_fails(trail: Path) -> None:
    tamper(trail)
    result = runner.invoke(app, ["audit", "verify"])
    assert result.exit_code == 1
    assert result.stdout.splitlines()[:2] == [
        "row 2 has another agent than was recorded",
        "NOT intact: 3 events",
    ]
    assert "Note this head" not in result.stdout
    result = runner.invoke(app, ["audit", "verify", "--json"])
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert not report["intact"]
    assert [(found["kind"], found["sequence"], found["field"]) for found in report["problems"]] == [
        ("altered", 2, "agent")
    ]


def test_the_audit_option_wins_over_the_environment(trail: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDVQA_AUDIT_URL", "another.sqlite")
    assert len(json.loads(ok("list", "--json", "--audit", str(trail)))) == 3
    assert len(json.loads(ok("list", "--json", "--audit", f"sqlite:///{trail}"))) == 3


def test_a_trail_that_is_not_there_is_neither_created_nor_intact(tmp_path: Path) -> None:
    result = runner.invoke(app, ["audit", "verify"])
    assert isinstance(result.exception, audit.OpenError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["list", "show", "verify"])
def test_each_help_teaches_with_an_example(command: str) -> None:
    assert f"Example: medvqa audit {command}" in ok(command, "--help")


def test_processes_exit_with_a_code_and_one_sentence(trail: Path) -> None:
    result = medvqa_process("audit", "verify", "--audit", "none.sqlite")
    assert result.returncode == 7
    assert result.stdout == ""
    assert result.stderr.startswith("medvqa: error: there is no audit trail at ")
    assert result.stderr.count("\n") == 1
    assert medvqa_process("audit", "verify").returncode == 0
    tamper(trail)
    result = medvqa_process("audit", "verify", "--json")
    assert (result.returncode, result.stderr) == (1, "")
    assert json.loads(result.stdout)["events"] == 3
    Path("medvqa.toml").write_text("modle = 1")
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
