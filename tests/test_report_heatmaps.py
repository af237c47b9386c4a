"""Heatmaps of recorded answers are made again for a report, and only those that come out as recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import run_medvqa

from audit import Filter, Log
from medvqa.assistant import Assistant
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.reports import compose, document_of, remake_heatmaps
from medvqa.simulated_study import write_simulated_study

pytestmark = pytest.mark.slow


def test_a_map_is_made_again_as_it_was_recorded(
    own_place: None,  # noqa: ARG001
    tmp_path: Path,
    default_model: HuggingFaceModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_simulated_study(tmp_path / "study", seed=7)
    log = Log(f"sqlite:///{tmp_path / 'trail.sqlite'}")
    assistant = Assistant(default_model, audit=log, agent="dr-17", key_folder=tmp_path / "keys")
    study = assistant.open_study(tmp_path / "study")
    answer = assistant.ask(study, "Where is the nodule?", image_number=2, heatmap="attention")
    assistant.ask(study, "Which organ is shown?", image_number=2)
    made = remake_heatmaps(assistant, study)
    assert list(made) == [answer.answer_id]
    asked, _ = document_of(compose(assistant.session, study, heatmaps=made)).asked
    assert [one.kind for one in asked.pictures] == ["image", "overlay"]
    assert len(list(log.read(Filter(action="explain")))) == 2  # when it was asked, and for the report

    monkeypatch.setenv("MEDVQA_AGENT", "dr-17")
    monkeypatch.setenv("MEDVQA_UNFAMILIAR", "warn")
    assert run_medvqa("report", tmp_path / "study", "--out", "r.json", "--heatmaps") == 0
    asked = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["asked"][0]
    assert (asked["heatmap"]["drawn"], len(asked["pictures"])) == (True, 2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medvqa.reports.heatmaps.heatmap_sha256", lambda _: "other")
        assert remake_heatmaps(assistant, study) == {}
    other = replace(default_model.identity, adapter_sha256="4" * 64)
    before = len(list(log.read(Filter(action="explain"))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(default_model), "identity", property(lambda _: other), raising=False)
        assert remake_heatmaps(assistant, study) == {}  # the answer is another model's
    assert len(list(log.read(Filter(action="explain")))) == before
