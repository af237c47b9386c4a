"""Choosing a model: a catalogue that names its sources, constraints that hold, and what lies on this disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlparse

import pytest
from command_line import run_medvqa
from hypothesis import given
from hypothesis import strategies as st
from models_page import PAGE, written_anew
from transformers import CONFIG_MAPPING
from typer.testing import CliRunner

from medvqa.cli import app
from medvqa.errors import ModelError
from medvqa.models.cached import find_on_disk, models_on_disk
from medvqa.models.catalogue import (
    ACCESS,
    ROUTES,
    TASKS,
    Checkpoint,
    Figure,
    read_catalogue,
    served_families,
)
from medvqa.models.choosing import Choice, Wanted, recommend
from medvqa.models.families import FAMILIES
from medvqa.models.memory import WEIGHT_BYTES, estimate_gb
from medvqa.types import NOT_FOR_DIAGNOSIS, Precision

ROOT = Path(__file__).parents[1]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NEWER = "fedcba9876543210fedcba9876543210fedcba98"
every_checkpoint = pytest.mark.parametrize("one", read_catalogue(), ids=lambda one: one.name)


def checkpoint(name: str = "somebody/model", **others: Any) -> Checkpoint:
    given: dict[str, Any] = {
        "family": "llava",
        "route": "ask",
        "served": True,
        "tasks": frozenset({"vqa"}),
        "parameters": 2.0,
        "parameters_source": "",
        "kept": None,
        "licence": "MIT",
        "licence_source": "",
        "access": "open",
        "medical": False,
        "languages": "",
        "note": "",
        "figures": (),
    }
    return Checkpoint(name=name, **given | others)


def figure(value: float, benchmark: str = "MMMU val", metric: str = "accuracy") -> Figure:
    return Figure(benchmark=benchmark, metric=metric, value=value, by="its authors", source="https://a.org/b")


def write_cache(
    cache: Path, *, repo: str = "models--somebody--model", revisions: tuple[str, ...] = (COMMIT,)
) -> None:
    """The layout of huggingface_hub's cache: blobs, and snapshots that link to them; the first is `main`."""
    folder = cache / repo
    for revision in revisions:
        for name, content in (("config.json", b"{}"), ("model.safetensors", b"w" * 1_000_000)):
            blob = folder / "blobs" / f"{revision[:4]}{name}"
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(content)
            link = folder / "snapshots" / revision / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(blob, link.parent))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(revisions[0])


# The catalogue.


def test_names_are_unique() -> None:
    names = [one.name for one in read_catalogue()]
    assert len(names) == len(set(names)) > 25


@every_checkpoint
def test_an_entry_is_complete_and_of_known_words(one: Checkpoint) -> None:
    assert one.tasks <= set(TASKS)
    assert one.access in ACCESS
    assert one.route in ROUTES
    assert one.licence
    assert one.parameters is None or 0 < one.parameters < 100
    assert one.kept is None or 0 < one.kept < 3


@every_checkpoint
def test_every_figure_size_and_licence_names_its_page(one: Checkpoint) -> None:
    assert (one.parameters is None) == (not one.parameters_source)
    assert one.licence_source or one.name == "default" or one.access == "hosted"
    sources = [one.parameters_source, one.licence_source, *(found.source for found in one.figures)]
    for source in filter(None, sources):
        address = urlparse(source)
        assert address.scheme == "https"
        assert "." in address.netloc
        assert not set(source) & set(" |()")
    assert all(0 < found.value < 100 and found.metric and found.by for found in one.figures)


@every_checkpoint
def test_a_family_is_one_of_transformers_or_explained(one: Checkpoint) -> None:
    if one.route in ("ask", "similar", "compose"):
        assert one.family in CONFIG_MAPPING
    else:
        assert one.note, f"{one.name} cannot be loaded, and nobody says why"
        assert not one.served or one.route == "remote"


def test_the_families_that_are_said_to_be_served_are_those_with_a_record() -> None:
    assert served_families("ask") == FAMILIES.keys(), "bring `ask` in medvqa/models/catalogue.toml up to date"


def test_the_page_has_the_catalogue_s_tables() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == written_anew(page), "run: PYTHONPATH=.:tests python tests/models_page.py"


def test_the_page_sees_a_change_of_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models_page.read_catalogue", lambda: (checkpoint("one/more", note="New."),))
    page = PAGE.read_text(encoding="utf-8")
    assert "one/more" in written_anew(page) != page


def test_the_shipped_model_is_as_large_as_it_says() -> None:
    content = (ROOT / "medvqa/models/weights/model.safetensors").stat().st_size
    (shipped,) = (one for one in read_catalogue() if one.name == "default")
    assert shipped.parameters == pytest.approx(content / 2 / 1e9, rel=0.02)  # float16


# Memory.


@given(st.floats(0.001, 100), st.sampled_from(sorted(WEIGHT_BYTES)))
def test_more_parameters_or_gradients_never_need_less(parameters: float, width: Any) -> None:
    needed = estimate_gb(parameters, width)
    assert needed > parameters * WEIGHT_BYTES[width]
    assert estimate_gb(parameters * 1.1, width) > needed
    assert estimate_gb(parameters, width, gradients=True) > needed
    assert estimate_gb(parameters, width, kept=2) > needed


def test_the_formula_is_the_one_that_the_page_states() -> None:
    assert estimate_gb(7, "bf16", kept=0.5) == pytest.approx(7 * (2 + 0.5 * 2) + 1.3)
    assert estimate_gb(7, "4bit") < estimate_gb(7, "bf16") < estimate_gb(7, "fp32") < estimate_gb(7, "int8")


# Recommending.

wishes = st.builds(
    Wanted,
    task=st.sampled_from(TASKS),
    memory_gb=st.none() | st.floats(0.5, 64),
    open_only=st.booleans(),
    medical=st.booleans(),
    gradients=st.booleans(),
    precision=st.sampled_from(get_args(Precision)),
)


def chosen(wanted: Wanted) -> tuple[Choice, ...]:
    try:
        return recommend(wanted).choices
    except ModelError:
        return ()


@given(wishes)
def test_every_choice_satisfies_every_constraint(wanted: Wanted) -> None:
    for choice in chosen(wanted):
        one = choice.checkpoint
        assert one.served
        assert wanted.task in one.tasks
        assert not wanted.open_only or one.access == "open"
        assert not wanted.medical or one.medical
        assert not wanted.gradients or (one.route == "ask" and wanted.precision != "int8")
        assert one.access != "hosted"
        if wanted.memory_gb is not None:
            assert choice.memory_gb is not None
            assert choice.memory_gb <= wanted.memory_gb


@given(wishes, st.data())
def test_what_is_not_chosen_is_said_to_fail_something(wanted: Wanted, data: st.DataObject) -> None:
    try:
        found = recommend(wanted)
    except ModelError as error:
        assert str(error).startswith("no model")
        return
    made_for = {one.name for one in read_catalogue() if wanted.task in one.tasks}
    names = [choice.checkpoint.name for choice in found.choices]
    left = [one.checkpoint.name for one in found.left_out]
    assert sorted(names + left) == sorted(made_for)
    assert all(one.because for one in found.left_out)
    assert all(data.draw(st.sampled_from(found.choices)).reasons)


@given(wishes, st.sampled_from(["memory_gb", "open_only", "medical", "gradients"]), st.floats(0.5, 64))
def test_tightening_a_constraint_never_adds_a_choice(wanted: Wanted, field: str, memory: float) -> None:
    before = getattr(wanted, field)
    tight = min(before or memory, memory) if field == "memory_gb" else True
    fewer = {choice.checkpoint.name for choice in chosen(_with(wanted, field, tight))}
    assert fewer <= {choice.checkpoint.name for choice in chosen(wanted)}


def _with(wanted: Wanted, field: str, value: Any) -> Wanted:
    fields = ("task", "memory_gb", "open_only", "medical", "gradients", "precision")
    return Wanted(**{name: getattr(wanted, name) for name in fields} | {field: value})


def test_figures_come_first_then_what_was_fetched_then_size(tmp_path: Path) -> None:
    write_cache(tmp_path, repo="models--a--fetched")
    catalogue = [
        checkpoint("a/large", parameters=4.0),
        checkpoint("a/small", parameters=1.0),
        checkpoint("a/fetched", parameters=0.5),
        checkpoint("a/weaker", parameters=9.0, figures=(figure(30),)),
        checkpoint("a/better", parameters=0.1, figures=(figure(50),)),
        checkpoint("a/other", parameters=9.0, figures=(figure(99, metric="after reasoning"),)),
        checkpoint("default", parameters=0.004),
    ]
    found = recommend(Wanted(task="vqa"), on_disk=models_on_disk(tmp_path), catalogue=catalogue)
    assert [choice.checkpoint.name for choice in found.choices] == [
        *("a/better", "a/weaker", "a/fetched", "a/other", "a/large", "a/small", "default"),
    ]
    assert "MMMU val" in found.rule
    assert any("on this disk" in reason for reason in found.choices[2].reasons)


def test_medical_models_are_compared_by_a_medical_figure() -> None:
    catalogue = [
        checkpoint("a/general", medical=True, figures=(figure(90),)),
        checkpoint("a/medical", medical=True, figures=(figure(40, "VQA-RAD", "tokenized F1"),)),
    ]
    found = recommend(Wanted(task="vqa", medical=True), catalogue=catalogue)
    assert found.choices[0].checkpoint.name == "a/medical"


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ({"memory_gb": 1.0}, "with --memory 6.3 there is a/1-open"),
        ({"medical": True, "open_only": True}, "without --open there is a/2-gated"),
        ({"medical": True, "open_only": True}, "without --medical there is a/1-open"),
        ({"gradients": True, "precision": "int8"}, "without --gradients there is a/1-open"),
        ({"gradients": True, "precision": "int8"}, "with --precision bf16 there is a/1-open"),
        ({"memory_gb": 7.0, "precision": "fp32"}, "with --precision bf16 there is a/1-open"),
        ({"medical": True, "open_only": True, "memory_gb": 1.0}, "relax two constraints"),
    ],
)
def test_where_nothing_fits_the_constraint_to_relax_is_named(wanted: dict[str, Any], named: str) -> None:
    catalogue = [checkpoint("a/1-open"), checkpoint("a/2-gated", access="gated", medical=True)]
    with pytest.raises(ModelError, match=named):
        recommend(Wanted(task="vqa", **wanted), catalogue=catalogue)


def test_the_memory_that_is_named_is_enough() -> None:
    catalogue = [checkpoint("a/open", parameters=1.234567)]
    with pytest.raises(ModelError) as refused:
        recommend(Wanted(task="vqa", memory_gb=1, precision="int8"), catalogue=catalogue)
    named = float(str(refused.value).partition("--memory ")[2].split()[0])
    assert recommend(Wanted(task="vqa", memory_gb=named, precision="int8"), catalogue=catalogue).choices


def test_a_hosted_model_is_never_chosen_for_anybody() -> None:
    hosted = checkpoint("a/hosted", access="hosted", route="remote", figures=(figure(90),))
    found = recommend(Wanted(task="vqa"), catalogue=[hosted, checkpoint()])
    assert [choice.checkpoint.name for choice in found.choices] == ["somebody/model"]
    assert "leave the house" in found.left_out[0].because[0]


def test_a_model_of_unknown_size_is_not_said_to_fit() -> None:
    with pytest.raises(ModelError, match="without --memory there is somebody/model"):
        recommend(Wanted(task="vqa", memory_gb=60), catalogue=[checkpoint(parameters=None)])


def test_a_task_that_nothing_here_serves_is_said_to_be_so() -> None:
    with pytest.raises(ModelError, match="no model that medvqa can load is made for segment"):
        recommend(Wanted(task="segment"), catalogue=[checkpoint(tasks=frozenset({"segment"}), served=False)])


# What lies on this disk.


def test_the_cache_is_read_by_its_current_revision(tmp_path: Path) -> None:
    write_cache(tmp_path, revisions=(COMMIT, NEWER))
    write_cache(tmp_path, repo="datasets--somebody--pictures")
    found = models_on_disk(tmp_path)
    assert list(found) == ["default", "somebody/model"]
    assert found["somebody/model"].revision == COMMIT
    assert found["somebody/model"].gigabytes == pytest.approx(0.001, rel=0.01)
    assert found["somebody/model"].complete


def test_settings_without_weights_are_not_taken_for_a_model(tmp_path: Path) -> None:
    write_cache(tmp_path)
    (tmp_path / "models--somebody--model" / "snapshots" / COMMIT / "model.safetensors").unlink()
    found = models_on_disk(tmp_path)
    assert not found["somebody/model"].complete
    choices = recommend(
        Wanted(task="vqa"),
        on_disk=found,
        catalogue=[checkpoint(parameters=1.0), checkpoint("a/larger", parameters=2.0)],
    ).choices
    assert choices[0].checkpoint.name == "a/larger"


def test_without_a_cache_there_is_the_shipped_model(tmp_path: Path) -> None:
    found = models_on_disk(tmp_path / "nowhere")
    assert list(found) == ["default"]
    assert found["default"].complete
    assert found["default"].place == "shipped"


def test_a_folder_comes_before_a_name_as_it_does_for_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cache(tmp_path / "cache")
    known = models_on_disk(tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    assert find_on_disk("somebody/model", known) == known["somebody/model"]
    (tmp_path / "somebody" / "model").mkdir(parents=True)
    folder = find_on_disk("somebody/model", known)
    assert folder is not None
    assert (folder.place, folder.complete) == ("folder", False)


# The command.


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_cache(tmp_path / "hub", repo="models--Qwen--Qwen2-VL-2B-Instruct")
    write_cache(tmp_path / "hub", repo="models--somebody--own")
    monkeypatch.setattr("medvqa.cli.models.models_on_disk", lambda: models_on_disk(tmp_path / "hub"))
    return tmp_path / "hub"


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["models", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.usefixtures("cache")
def test_the_list_names_every_model_whole_and_what_is_here() -> None:
    printed = invoke()
    for one in read_catalogue():
        assert one.name in printed
    lines = {line.split()[0]: line for line in printed.splitlines() if line.strip()}
    assert "cached, 1.0 MB" in lines["Qwen/Qwen2-VL-2B-Instruct"]
    assert COMMIT[:8] in lines["Qwen/Qwen2-VL-2B-Instruct"]
    assert "shipped" in lines["default"]
    assert "also on this disk: somebody/own" in printed
    assert NOT_FOR_DIAGNOSIS in printed


@pytest.mark.usefixtures("cache")
def test_the_list_as_json_has_sources_memory_and_what_is_here() -> None:
    described = json.loads(invoke("--json", "--task", "ocr"))
    assert all("ocr" in one["tasks"] for one in described["models"])
    (qwen,) = (one for one in described["models"] if one["name"] == "Qwen/Qwen2-VL-2B-Instruct")
    assert qwen["on_disk"]["revision"] == COMMIT
    assert set(qwen["memory_gb"]) == set(WEIGHT_BYTES)
    assert qwen["figures"][0]["source"].startswith("https://")
    assert [one["name"] for one in described["also_on_disk"]] == ["somebody/own"]
    assert described["notice"] == NOT_FOR_DIAGNOSIS


@pytest.mark.usefixtures("cache")
def test_a_recommendation_says_why_and_why_not() -> None:
    printed = invoke("recommend", "--task", "vqa", "--memory", "16", "--open")
    first = printed.splitlines()[0]
    assert first.startswith("Qwen/Qwen2-VL-2B-Instruct: made for vqa; MMMU val 41.1")
    assert "of 16 in bf16" in first
    assert "medvqa ask STUDY QUESTION --model Qwen/Qwen2-VL-2B-Instruct" in printed
    assert "google/medgemma-4b-it: terms to accept on the hub" in printed
    assert NOT_FOR_DIAGNOSIS in printed


@pytest.mark.usefixtures("cache")
def test_a_recommendation_as_json_agrees_with_the_constraints() -> None:
    described = json.loads(invoke("recommend", "--memory", "12", "--medical", "--gradients", "--json"))
    assert described["choice"]["medical"]
    assert described["wanted"]["memory_gb"] == 12
    assert described["rule"]
    assert described["choice"]["reasons"]
    assert described["left_out"]
    assert described["notice"] == NOT_FOR_DIAGNOSIS


def test_nothing_that_fits_ends_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_medvqa("models", "recommend", "--memory", "0.5") == ModelError.exit_code
    assert capsys.readouterr().err.startswith(
        "medvqa: error: no model for vqa satisfies all of this; with --memory 1.4"
    )


@pytest.mark.parametrize("arguments", [["models"], ["models", "recommend", "--open"]])
def test_choosing_imports_no_library_that_takes_seconds(arguments: list[str], tmp_path: Path) -> None:
    heavy = {"torch", "transformers", "numpy", "sqlalchemy", "pydicom", "monai", "PIL"}
    command = [sys.executable, "-X", "importtime", "-m", "medvqa", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_CACHE": str(tmp_path)}
    run = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, cwd=tmp_path)
    names = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in run.stderr.splitlines() if "|" in line
    }
    assert "huggingface_hub" in names
    assert names & heavy == set()
