"""Several models asked the same: who says what, how many agree, and what the verdict comes to."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from command_line import run_medvqa
from dicom_builder import image as dicom_image
from dicom_builder import write
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import FakeModel

from audit import Filter, Log
from medvqa.assistant import Assistant
from medvqa.ensembles import CANNOT_TELL, ask_together, worst_verdict
from medvqa.errors import GateError, QuestionError
from medvqa.models.base import Generation
from medvqa.study import read_study
from medvqa.types import Token

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from medvqa.types import Image, Study, Verdict

QUESTION = "Is there a tumor?"
VERDICTS: tuple[Verdict, ...] = ("grounded", "unsure", "fragile", "image_blind")


class Saying(FakeModel):
    """A model that says one thing, and is as sure of it as it is told to be."""

    calibration = None

    def __init__(self, name: str, text: str, *, blind: bool = False) -> None:
        super().__init__(lambda image: 0.9 if blind or image.ref.pixel_sha256[0] != "b" else 0.1)
        self.identity = replace(self.identity, name=name)
        self._text, self._blind = text, blind

    def generate(self, image: Image, question: str) -> Generation:
        said = super().generate(image, question)
        return replace(said, text=self._text, tokens=(Token(text=self._text, log_probability=-0.1),))

    def log_likelihoods(self, asked: Sequence[tuple[Image, str]], _: tuple[int, ...]) -> list[float]:
        first = asked[0][0].pixels
        return [
            -0.1
            if self._blind or (one.pixels.shape == first.shape and np.array_equal(one.pixels, first))
            else -3.0
            for one, _ in asked
        ]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with Log(f"sqlite:///{tmp_path / 'audit.sqlite'}") as opened:
        yield opened


@pytest.fixture
def study(tmp_path: Path) -> Study:
    pixels = np.random.default_rng(0).integers(-100, 300, (48, 40)).astype(np.int16)
    return read_study(write(tmp_path / "one.dcm", dicom_image(pixels)))


@pytest.fixture
def asking(log: Log, tmp_path: Path) -> Any:
    def make(*models: Any) -> list[Assistant]:
        return [Assistant(one, audit=log, agent="dr-17", key_folder=tmp_path / "keys") for one in models]

    return make


def test_models_that_agree_keep_their_verdict(asking: Any, study: Study, log: Log) -> None:
    joint = ask_together(asking(Saying("a", "Yes."), Saying("b", "yes")), study, QUESTION)
    assert (joint.text, joint.agreement, joint.verdict) == ("Yes.", 1, "grounded")
    (event,) = log.read(Filter(action="agree"))
    assert (event.sequence, event.subject) == (joint.audit_id, joint.joint_id)
    assert event.entity["agreement"] == 1
    told = [one["answer_id"] for one in event.entity["answers"]]
    assert told == [answer.answer_id for answer in joint.answers]
    assert [one.entity["answer"] for one in log.read(Filter(action="answer"))] == ["Yes.", "yes"]
    assert log.verify().intact


def test_disagreement_lowers_the_verdict_and_the_majority_speaks(asking: Any, study: Study) -> None:
    models = Saying("a", "no"), Saying("b", "yes"), Saying("c", "yes")
    joint = ask_together(asking(*models), study, QUESTION)
    assert (joint.text, joint.verdict) == ("yes", "unsure")
    assert joint.agreement == pytest.approx(2 / 3)
    assert [answer.checks.verdict for answer in joint.answers] == ["grounded"] * 3
    tied = ask_together(asking(Saying("a", "no"), Saying("b", "yes")), study, QUESTION)
    assert (tied.text, tied.agreement, tied.verdict) == ("no", 0.5, "unsure")


def test_the_worst_of_those_that_agree_counts(asking: Any, study: Study) -> None:
    joint = ask_together(asking(Saying("a", "yes"), Saying("b", "yes", blind=True)), study, QUESTION)
    assert (joint.agreement, joint.verdict) == (1, "image_blind")


def test_a_model_that_refuses_agrees_with_nobody(asking: Any, study: Study, log: Log) -> None:
    class Refusing(Saying):
        modalities = frozenset({"MG"})

        def generate(self, _: Image, __: str) -> Generation:
            raise QuestionError("too long for this model; shorten it")

    joint = ask_together(asking(Saying("a", "yes"), Refusing("b", "yes")), study, QUESTION)
    assert (joint.agreement, joint.verdict) == (0.5, "unsure")
    assert joint.refusals == ("too long for this model; shorten it",)
    assert [event.action for event in log.read(Filter(action="refuse"))] == ["refuse"]
    with pytest.raises(QuestionError, match="too long"):
        ask_together(asking(Refusing("a", "yes"), Refusing("b", "yes")), study, QUESTION)


def test_one_model_alone_is_no_ensemble(asking: Any, study: Study) -> None:
    with pytest.raises(QuestionError, match="at least two"):
        ask_together(asking(Saying("a", "yes")), study, QUESTION)


@given(
    verdicts=st.lists(st.sampled_from(VERDICTS), min_size=1),
    agreement=st.floats(0.01, 1),
    other=st.sampled_from(VERDICTS),
)
def test_a_verdict_only_falls(verdicts: list[Verdict], agreement: float, other: Verdict) -> None:
    found = worst_verdict(verdicts, agreement=agreement)
    assert VERDICTS.index(found) >= max(map(VERDICTS.index, verdicts))
    assert agreement == 1 or found != "grounded"
    more = worst_verdict([*verdicts, other], agreement=agreement)
    assert VERDICTS.index(more) >= VERDICTS.index(found)


def test_the_command_asks_each_and_shows_how_many_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(0).integers(-100, 300, (48, 40)).astype(np.int16)
    write(tmp_path / "one.dcm", dicom_image(pixels))
    monkeypatch.setenv("MEDVQA_AUDIT_URL", str(tmp_path / "audit.sqlite"))
    monkeypatch.setenv("MEDVQA_KEY_FOLDER", str(tmp_path / "keys"))

    def run(*arguments: str) -> int:
        return run_medvqa("consult", tmp_path / "one.dcm", QUESTION, *arguments)

    both = ("--model", "default", "--model", "default")
    assert run(*both, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["agreement"] == 1
    assert len(told["answers"]) == 2
    assert told["text"] in (told["answers"][0]["text"], CANNOT_TELL)
    assert run(*both) == 0
    shown = capsys.readouterr().out
    assert "said by 2 of 2 models" in shown
    assert "not for diagnostic use" in shown
    assert run("--model", "default") == 2
    assert run(*both[:2], "--model", str(tmp_path / "nothing")) == 5


def test_refusals_of_the_gate_are_refusals_too(asking: Any, tmp_path: Path, default_model: Any) -> None:
    flat = read_study(write(tmp_path / "flat.dcm", dicom_image(np.zeros((48, 40), dtype=np.int16))))
    with pytest.raises(GateError):
        ask_together(asking(default_model, default_model), flat, QUESTION)
