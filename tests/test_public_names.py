"""The names that `medvqa` promises, and what importing it must not cost."""

import subprocess
import sys
from pathlib import Path

import pytest

import medvqa
from medvqa import errors

ROOT = Path(__file__).parents[1]
HEAVY = {
    "torch",
    "transformers",
    "monai",
    "captum",
    "peft",
    "sqlalchemy",
    "streamlit",
    "pydicom",
    "numpy",
    "PIL",
}

NOUNS = [
    "Answer",
    "Checks",
    "Explanation",
    "Heatmap",
    "HeatmapGrade",
    "Image",
    "ImageRef",
    "Limits",
    "ModelIdentity",
    "Notice",
    "Shot",
    "Study",
    "TaskResult",
    "Token",
]
VERBS = [
    "Assistant",
    "ask_together",
    "connect",
    "explain",
    "load_model",
    "perform",
    "read_study",
    "run_batch",
]
ERRORS = [
    name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)
]


def imported_by(*arguments: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter imports when run with `arguments`."""
    command = [sys.executable, "-X", "importtime", *arguments]
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    names = (line.rpartition("|")[2].strip() for line in run.stderr.splitlines() if "|" in line)
    return {name.partition(".")[0] for name in names}


def test_public_names_are_exactly_these() -> None:
    assert sorted(medvqa.__all__) == sorted([*NOUNS, *VERBS, *ERRORS])


@pytest.mark.parametrize("name", medvqa.__all__)
def test_each_name_is_there(name: str) -> None:
    assert getattr(medvqa, name).__name__ == name
    assert name in dir(medvqa)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'medvqa' has no attribute 'nothing'"):
        _ = medvqa.nothing


def test_importing_medvqa_imports_no_library() -> None:
    assert imported_by("-c", "import medvqa") & HEAVY == set()


def test_the_watch_on_imports_sees_them() -> None:
    assert "numpy" in imported_by("-c", "import medvqa, numpy")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_imports_no_library(arguments: list[str]) -> None:
    assert imported_by("-m", "medvqa", *arguments) & HEAVY == set()


@pytest.mark.parametrize("command", ["audit", "review", "sign"])
def test_help_of_a_command_imports_no_model_library(command: str) -> None:
    assert imported_by("-m", "medvqa", command, "--help") & (HEAVY - {"sqlalchemy", "numpy"}) == set()
