"""The door to every task: what comes back, what is recorded, and what is refused."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_builder import image, planted, write
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont
from pydantic import ValidationError
from tiny_families import build_tiny
from tiny_models import IDENTITY, noise, shown

from audit import AuditError, Event, Log
from medvqa.assistant import Assistant
from medvqa.errors import FormatError, GateError, QuestionError, RecordError, StoppedError, TaskError
from medvqa.models.base import Generation
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.simulated_study import write_simulated_study
from medvqa.stopping import stop
from medvqa.study import read_study
from medvqa.tasks import TASKS, perform, text_reading
from medvqa.tasks.asking import SECTIONS
from medvqa.tasks.choosing import classify, softmax
from medvqa.tasks.comparing import compare, weigh_change
from medvqa.tasks.results import (
    CONTENT,
    Box,
    Boxes,
    Classification,
    Comparison,
    Mask,
    Masks,
    TextRegion,
    TextRegions,
)
from medvqa.tasks.side_markers import kind_of
from medvqa.tasks.text_reading import read_text
from medvqa.types import Image, Study, Token

NAME = "ZQCANARY^JANE"
QUADRANTS = tuple(f"{row} {side} quadrant" for row in ("upper", "lower") for side in ("left", "right"))


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("simulated")
    write_simulated_study(folder, seed=7)
    return read_study(folder)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with Log(f"sqlite:///{tmp_path / 'audit.sqlite'}", busy_timeout_s=0.2) as opened:
        yield opened


@pytest.fixture
def assistant(default_model: HuggingFaceModel, log: Log, tmp_path: Path) -> Assistant:
    return Assistant(default_model, audit=log, agent="dr-17", key_folder=tmp_path / "keys")


def rows(assistant: Assistant) -> list[Event]:
    assert assistant.audit.verify().intact
    return list(assistant.audit.read())


def test_a_question_is_an_answer(assistant: Assistant, studies: Study) -> None:
    result = perform(studies, "vqa", "Where is the nodule?", assistant=assistant, image_number=2)
    (answer,) = result.answers
    assert (result.content.kind, result.content.statement.text) == ("reply", answer.text)
    assert result.result_id == answer.answer_id
    assert [event.action for event in rows(assistant)] == ["load_model", "ask", "answer"]
    assert result.audit_id == rows(assistant)[-1].sequence


def test_a_caption_is_a_sentence_with_checks(assistant: Assistant, studies: Study) -> None:
    result = perform(studies, "caption", assistant=assistant, image_number=2)
    said = result.content.statement
    assert said.text == "This is an MRI of the brain with a nodule in the lower right quadrant."
    assert said.verdict == result.answers[0].checks.verdict
    assert said.confidence == result.answers[0].checks.confidence


def test_a_report_is_questions_with_a_row_each(assistant: Assistant, studies: Study) -> None:
    result = perform(studies, "report", assistant=assistant, image_number=2)
    assert [section.heading for section in result.content.sections] == [heading for heading, _ in SECTIONS]
    assert [answer.question for answer in result.answers] == [question for _, question in SECTIONS]
    recorded = rows(assistant)
    assert [event.action for event in recorded] == [
        *("load_model", "perform"),
        *("ask", "answer") * len(SECTIONS),
        "result",
    ]
    listed = [section["answer_id"] for section in recorded[-1].entity["content"]["sections"]]
    assert listed == [event.subject for event in recorded if event.action == "answer"]


def test_options_are_weighed_against_each_other(assistant: Assistant, studies: Study) -> None:
    found = {}
    for number in (2, 3):
        result = perform(
            studies,
            "classify",
            "Where is the nodule?",
            assistant=assistant,
            image_number=number,
            options=QUADRANTS,
        )
        assert math.isclose(sum(result.content.probabilities), 1, abs_tol=1e-9)
        assert result.content.options == QUADRANTS
        found[number] = result.content.chosen
    assert found == {2: "lower right quadrant", 3: "upper left quadrant"}
    event = rows(assistant)[-1]
    assert event.entity["content"]["chosen"] == "upper left quadrant"
    assert event.entity["options"] == list(QUADRANTS)


def test_the_order_of_options_changes_nothing(default_model: HuggingFaceModel) -> None:
    there, back = (
        classify(default_model, noise(), options, question="Where is the nodule?")
        for options in (QUADRANTS, QUADRANTS[::-1])
    )
    assert there.probabilities == pytest.approx(back.probabilities[::-1])


def test_options_without_a_question_are_named_in_one(default_model: HuggingFaceModel) -> None:
    found = classify(default_model, noise(), ("glioma", "pneumonia"), question=None)
    assert found.question == "Which of these does the image show: glioma, pneumonia?"
    assert found.said


class Contrastive:
    """Compares an image with texts; says nothing."""

    def choose(self, image: Image, options: tuple[str, ...]) -> list[Any]:  # noqa: ARG002
        return [
            type("Choice", (), {"option": option, "probability": share})
            for option, share in zip(options, (0.25, 0.75), strict=True)
        ]


def test_a_model_that_compares_texts_with_images_is_asked_nothing() -> None:
    found = classify(Contrastive(), noise(), ("normal", "tumor"), question=None)
    assert (found.chosen, found.probabilities, found.question, found.said) == (
        "tumor",
        (0.25, 0.75),
        None,
        None,
    )
    with pytest.raises(TaskError, match="cannot classify"):
        classify(object(), noise(), ("normal", "tumor"), question=None)


@given(st.lists(st.floats(-1e4, 0), min_size=2, max_size=6))
def test_shares_add_up_and_keep_the_order(logarithms: list[float]) -> None:
    shares = softmax(logarithms)
    assert math.isclose(sum(shares), 1, abs_tol=1e-9)
    assert shares[logarithms.index(max(logarithms))] == max(shares)


@dataclass
class Odds:
    """Log-probabilities of "yes" and "no" that depend on the image alone."""

    yes: dict[float, float]
    no: dict[float, float]

    def generate(self, image: Image, question: str) -> Generation:  # noqa: ARG002
        return Generation(text="yes", tokens=(Token(text="yes", log_probability=-1.0),), token_ids=(1, 9))

    def log_likelihood(self, image: Image, question: str, token_ids: tuple[int, ...]) -> float:
        assert question == "Is there a nodule?"
        assert token_ids[-1] == 9
        return (self.yes if token_ids[0] == 1 else self.no)[float(image.pixels[0, 0])]

    def tokens_of(self, answer: str) -> tuple[int, ...]:
        return ({"yes": 1, "no": 2}[answer],)

    def text_of(self, token_ids: tuple[int, ...]) -> str:
        return "".join({1: "yes", 2: "no", 9: ""}[token] for token in token_ids)


logs = st.floats(-60, 0)


@given(logs, logs, logs, logs)
def test_swapping_the_images_swaps_the_answer(a: float, b: float, c: float, d: float) -> None:
    model = Odds(yes={0.0: a, 1.0: b}, no={0.0: c, 1.0: d})
    first, second = (shown(np.full((4, 4), level)) for level in (0.0, 1.0))
    there, back = compare(model, first, second, "a nodule"), compare(model, second, first, "a nodule")
    assert there.change == -back.change
    assert (there.better, there.worse, there.unchanged) == (back.worse, back.better, back.unchanged)
    swapped = {"better": "worse", "worse": "better", "unchanged": "unchanged"}
    assert there.label == swapped[back.label]


def test_more_of_a_finding_is_worse_and_little_is_nothing() -> None:
    assert [weigh_change(change)["label"] for change in (-9, -1, 0, 1, 9)] == [
        *("better", "unchanged", "unchanged", "unchanged", "worse"),
    ]
    assert weigh_change(1e6)["worse"] == pytest.approx(1)


def test_a_new_nodule_is_worse_and_one_that_is_gone_better(
    assistant: Assistant, studies: Study, tmp_path: Path
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    write_simulated_study(tmp_path / "all", seed=7)
    for folder, number in ((one, 1), (other, 2)):
        folder.mkdir()
        (tmp_path / "all" / f"slice-{number}.dcm").rename(folder / "slice.dcm")
    bare, nodule = read_study(one), read_study(other)
    worse = perform(nodule, "compare", "a nodule", assistant=assistant, prior=bare)
    better = perform(bare, "compare", "a nodule", assistant=assistant, prior=nodule)
    assert (worse.content.label, better.content.label) == ("worse", "better")
    assert worse.content.change == -better.content.change
    event = rows(assistant)[-1]
    assert event.entity["prior"]["sop_instance_uid"] == nodule.images[0].ref.sop_instance_uid
    assert better.prior == nodule.images[0].ref
    assert studies.study_instance_uid == event.study


def test_a_prior_of_another_patient_is_refused(assistant: Assistant, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(-100, 300, (48, 40)).astype(np.int16)
    one = read_study(write(tmp_path / "1.dcm", image(pixels, PatientID="A")))
    other = read_study(write(tmp_path / "2.dcm", image(pixels, PatientID="B")))
    with pytest.raises(TaskError, match="prior is of another patient") as refused:
        perform(one, "compare", "a nodule", assistant=assistant, prior=other)
    assert "A" not in str(refused.value).replace("(0010,0020)", "").split()
    assert perform(one, "compare", "a nodule", assistant=assistant, prior=one).content.label == "unchanged"


def test_a_prior_that_is_later_is_noticed(assistant: Assistant, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(-100, 300, (48, 40)).astype(np.int16)
    early, late = (
        read_study(write(tmp_path / f"{date}.dcm", image(pixels, StudyDate=date)))
        for date in ("20200101", "20210101")
    )
    codes = {
        notice.code
        for notice in perform(early, "compare", "a nodule", assistant=assistant, prior=late).warnings
    }
    assert "prior_is_later" in codes
    swapped = perform(late, "compare", "a nodule", assistant=assistant, prior=early)
    assert "prior_is_later" not in {notice.code for notice in swapped.warnings}


@pytest.mark.parametrize("task", ["detect", "ground", "segment"])
def test_a_task_that_the_model_cannot_do_is_a_recorded_refusal(
    assistant: Assistant, studies: Study, task: Any
) -> None:
    with pytest.raises(TaskError, match=r"deepseek_vl cannot .*florence2") as refused:
        perform(studies, task, "a nodule", assistant=assistant)
    before, after = rows(assistant)[-2:]
    assert (before.action, after.action, after.outcome) == ("perform", "result", "refused")
    assert before.subject == after.subject
    assert after.entity["reason"] == str(refused.value)


@pytest.mark.parametrize(
    ("task", "text", "details", "lacks"),
    [
        ("juggle", None, {}, "no task 'juggle'"),
        ("vqa", None, {}, "needs a question"),
        ("ground", None, {}, "needs the phrase"),
        ("compare", "a nodule", {}, "needs a prior"),
        ("caption", "why?", {}, "takes no text"),
        ("classify", None, {}, "two or more different options"),
        ("classify", None, {"options": ("one",)}, "two or more different options"),
        ("classify", None, {"options": ("one", " one ")}, "two or more different options"),
        ("vqa", "why?", {"options": ("a", "b")}, "and no other"),
    ],
)
def test_an_order_that_lacks_something_goes_nowhere(
    assistant: Assistant, studies: Study, task: Any, text: str | None, details: dict[str, Any], lacks: str
) -> None:
    with pytest.raises(TaskError, match=lacks):
        perform(studies, task, text, assistant=assistant, **details)
    assert [event.action for event in rows(assistant)] == ["load_model"]


def test_an_empty_text_is_no_question(assistant: Assistant, studies: Study) -> None:
    with pytest.raises(QuestionError):
        perform(studies, "vqa", "  ", assistant=assistant)


class Locating:
    """A model of a family that writes boxes; what it writes is given."""

    def __init__(self, writes: str, model_type: str = "florence2") -> None:
        self.identity = replace(IDENTITY, model_type=model_type)
        self.modalities: frozenset[str] = frozenset()
        self.prompts: list[str] = []
        self._writes = writes

    def generate(self, image: Image, question: str) -> Generation:  # noqa: ARG002
        self.prompts.append(question)
        tokens = tuple(self._writes.encode())
        return Generation(text="", tokens=(), token_ids=tokens)

    def raw_text_of(self, token_ids: tuple[int, ...]) -> str:
        return bytes(token_ids).decode()

    def encode(self, image: Image) -> Any:  # noqa: ARG002
        return type("Encoded", (), {"inputs": {"pixel_values": np.zeros((3, 768, 768))}})

    def pixel_maps(self, attribution: Any, encoded: Any) -> Any:  # noqa: ARG002
        return [(attribution[0], (0.0, 0.0, 1.0, 1.0))]


def locating(log: Log, tmp_path: Path, writes: str, model_type: str = "florence2") -> Assistant:
    return Assistant(Locating(writes, model_type), audit=log, key_folder=tmp_path / "keys")


def test_a_real_florence_goes_through_the_door(log: Log, tmp_path: Path, studies: Study) -> None:
    """With random weights it writes nonsense, which is recorded as such and not taken for no box."""
    model, processor = build_tiny("florence2")
    named = replace(IDENTITY, model_type="florence2", parameters={"max_new_tokens": 4})
    served = HuggingFaceModel(model, processor, named)
    there = Assistant(served, audit=log, key_folder=tmp_path / "keys")
    with pytest.raises(FormatError, match="not in its form"):
        perform(studies, "detect", "nodule", assistant=there)
    assert [(event.action, event.outcome) for event in rows(there)][-2:] == [
        ("perform", "success"),
        ("result", "failed"),
    ]
    perform(studies, "caption", assistant=there)
    asked = [event.entity["question"] for event in rows(there) if event.action == "ask"]
    assert asked == ["Describe in detail what is shown in the image."]


def test_boxes_lie_on_the_pixel_matrix_and_in_the_trail(log: Log, tmp_path: Path, studies: Study) -> None:
    there = locating(log, tmp_path, "nodule<loc_499><loc_249><loc_599><loc_499></s>")
    result = perform(studies, "detect", "nodule", assistant=there, image_number=1)
    (box,) = result.content.boxes
    assert (result.content.rows, result.content.columns) == studies.images[0].shape == (240, 216)
    assert (box.label, box.score) == ("nodule", None)
    assert (box.top, box.left) == pytest.approx((59.88, 107.89), abs=0.01)
    assert (box.bottom, box.right) == pytest.approx((119.88, 129.49), abs=0.01)
    before, after = rows(there)[-2:]
    assert (before.action, after.action) == ("perform", "result")
    assert before.entity["text"] == after.entity["text"] == "nodule"
    assert after.entity["content"]["boxes"] == [json.loads(box.model_dump_json())]
    assert after.entity["prompt"] == there.model.prompts[0] == "Locate nodule in the image."
    assert bytes(after.entity["tokens"]["token_ids"]).startswith(b"nodule")


def test_no_box_is_a_result_and_no_sense_a_failure(log: Log, tmp_path: Path, studies: Study) -> None:
    nothing = perform(studies, "detect", assistant=locating(log, tmp_path, "</s>"))
    assert nothing.content.boxes == ()
    words = locating(log, tmp_path, f"the name is {NAME}</s>")
    with pytest.raises(FormatError, match="not in its form for boxes") as failed:
        perform(studies, "detect", assistant=words)
    assert NAME not in str(failed.value)
    event = rows(words)[-1]
    assert (event.action, event.outcome) == ("result", "failed")
    assert event.entity["reason"] == str(failed.value)


def test_masks_have_the_image_s_rows_and_columns(log: Log, tmp_path: Path, studies: Study) -> None:
    outline = "".join(f"<loc_{place}>" for place in (250, 250, 750, 250, 750, 750, 250, 750))
    result = perform(studies, "segment", "nodule", assistant=locating(log, tmp_path, outline))
    (mask,) = result.content.masks
    bits = mask.bits()
    assert bits.shape == (240, 216)
    assert bits[60:180, 54:162].all()
    assert not bits[:60].any()
    assert mask.pixels == bits.sum() == 120 * 108
    recorded = rows(locating(log, tmp_path, ""))[-2].entity["content"]["masks"][0]
    assert recorded["pixels"] == mask.pixels
    assert len(recorded["runs_sha256"]) == 64


def test_a_model_that_breaks_off_leaves_the_kind_of_error_alone(
    log: Log, tmp_path: Path, studies: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(*_: Any) -> Generation:
        raise RuntimeError(NAME)

    monkeypatch.setattr(Locating, "generate", break_off)
    broken = locating(log, tmp_path, "")
    with pytest.raises(RuntimeError):
        perform(studies, "detect", assistant=broken)
    event = rows(broken)[-1]
    assert (event.outcome, event.entity["error"]) == ("failed", "RuntimeError")
    assert NAME.encode() not in (tmp_path / "audit.sqlite").read_bytes()


@pytest.mark.parametrize("task", ["detect", "ocr"])
def test_nothing_is_done_once_answering_was_stopped(
    log: Log, tmp_path: Path, studies: Study, task: Any
) -> None:
    there = locating(log, tmp_path, "</s>")
    stop(there.session, reason="recalled")
    with pytest.raises(StoppedError):
        perform(studies, task, assistant=there)
    assert there.model.prompts == []
    assert rows(there)[-1].outcome == "refused"


def test_a_blank_image_is_refused_before_the_model_sees_it(log: Log, tmp_path: Path) -> None:
    there = locating(log, tmp_path, "</s>")
    blank = read_study(write(tmp_path / "blank.dcm", image(np.zeros((48, 40), np.int16))))
    with pytest.raises(GateError):
        perform(blank, "detect", assistant=there)
    assert there.model.prompts == []
    assert rows(there)[-1].outcome == "refused"


@pytest.mark.parametrize("lost", ["perform", "result"])
def test_no_record_no_result(
    log: Log, tmp_path: Path, studies: Study, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    there = locating(log, tmp_path, "</s>")
    whole = Log.append_all

    def lose(self: Log, entries: Any) -> Any:
        if any(entry.action == lost for entry in entries):
            raise AuditError("the disk is full")
        return whole(self, entries)

    monkeypatch.setattr(Log, "append_all", lose)
    with pytest.raises(RecordError):
        perform(studies, "detect", assistant=there)
    assert (there.model.prompts == []) == (lost == "perform")


def burned_in(tmp_path: Path) -> Study:
    """A study whose pixels carry a name, a date and a side marker, and whose header carries canaries."""
    picture = PillowImage.new("L", (640, 480), 30)
    drawing = ImageDraw.Draw(picture)
    drawing.ellipse((180, 120, 460, 400), fill=110)
    drawing.text((10, 8), NAME, fill=255, font=ImageFont.load_default(20))
    drawing.text((10, 440), "AP SUPINE 2026-03-12", fill=255, font=ImageFont.load_default(20))
    drawing.text((520, 100), "LINKS", fill=255, font=ImageFont.load_default(36))
    pixels = np.asarray(picture).astype(np.int16)
    return read_study(
        write(tmp_path / "burned.dcm", planted(image(pixels, WindowCenter=128, WindowWidth=256)))
    )


def test_burned_in_text_is_shown_to_the_asker_and_is_in_no_row(
    log: Log, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    there = locating(log, tmp_path, "")
    result = perform(burned_in(tmp_path), "ocr", assistant=there)
    regions = {region.text: region for region in result.content.regions}
    assert {NAME, "LINKS"} <= set(regions)
    assert "AP SUPINE" in " ".join(regions)
    assert (regions["LINKS"].kind, regions["LINKS"].side) == ("side marker", "left")
    assert regions[NAME].kind == "text"
    assert regions[NAME].top < 12 < regions[NAME].bottom
    assert regions["LINKS"].left == pytest.approx(520, abs=8)
    assert result.content.read_by.startswith("rapidocr ")
    event = rows(there)[-1]
    content = event.entity["content"]
    lines = "\n".join(region.text for region in result.content.regions)
    assert content["text_sha256"] == hashlib.sha256(lines.encode()).hexdigest()
    assert content["count"] == len(content["regions"]) == len(result.content.regions)
    assert {"top", "left", "bottom", "right", "kind"} <= set(content["regions"][0])
    assert set(event.entity["engine"]) >= {"rapidocr", "onnxruntime"}
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("audit.sqlite*"))
    out, err = capfd.readouterr()
    for text in (NAME, "SUPINE", "LINKS"):
        assert text.encode() not in kept
        assert text not in out + err + caplog.text


def test_nothing_written_is_nothing_read() -> None:
    grey = np.full((200, 300), 0.4)
    grey[60:140, 90:210] = 0.7
    assert read_text(shown(grey)).regions == ()
    round_head = np.hypot(*np.mgrid[-120:120, -108:108])
    assert read_text(shown((round_head < 90) * 0.6)).regions == ()


@pytest.mark.usefixtures("no_network")
def test_reading_asks_no_network(tmp_path: Path) -> None:
    text_reading._engine.cache_clear()
    assert read_text(burned_in(tmp_path).images[0]).regions


def test_without_the_engine_a_model_that_can_reads_and_another_says_what_to_install(
    log: Log, tmp_path: Path, studies: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medvqa.tasks.text_reading.RapidOCR", None)
    line = "L<loc_10><loc_20><loc_200><loc_20><loc_200><loc_60><loc_10><loc_60></s>"
    there = locating(log, tmp_path, line)
    (region,) = perform(studies, "ocr", assistant=there).content.regions
    assert (region.text, region.side, region.confidence) == ("L", "left", None)
    assert "token_ids" not in rows(there)[-1].entity["tokens"]
    with pytest.raises(TaskError, match=r"pip install 'medvqa\[ocr\]'"):
        perform(studies, "ocr", assistant=locating(log, tmp_path, "", model_type="llava"))


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("L", "left"),
        ("(R)", "right"),
        ("links", "left"),
        ("Rechts", "right"),
        ("LT.", "left"),
        ("左", "left"),
    ],
)
def test_side_markers(text: str, side: str) -> None:
    assert kind_of(text) == ("side marker", side)


@pytest.mark.parametrize("text", ["AP", "L 4", "LIVER", "RL", "", "kVp 120"])
def test_other_text_is_no_side_marker(text: str) -> None:
    assert kind_of(text) == ("text", None)


@given(arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30))))
def test_a_mask_s_bits_come_back(bits: np.ndarray) -> None:
    mask = Mask.of(bits, label="nodule")
    assert (mask.bits() == bits).all()
    assert mask.pixels == bits.sum()
    rows_, columns = bits.shape
    written = Masks(rows=rows_, columns=columns, masks=(mask,)).model_dump_json()
    assert (CONTENT.validate_json(written).masks[0].bits() == bits).all()


PLACE = {"top": 1.0, "left": 2.0, "bottom": 3.0, "right": 4.0}


@pytest.mark.parametrize(
    "broken",
    [
        lambda: Box(label="a", **PLACE | {"bottom": 1.0}),
        lambda: Box(label="a", **PLACE | {"left": -1.0}),
        lambda: Box(label="a", **PLACE | {"top": math.nan}),
        lambda: Box(label="a", **PLACE, score=1.5),
        lambda: Box(label="a", **PLACE, colour="red"),
        lambda: Boxes(rows=3, columns=3, boxes=(Box(label="a", **PLACE),)),
        lambda: TextRegions(
            rows=2, columns=9, read_by="x", regions=(TextRegion(text="L", kind="text", **PLACE),)
        ),
        lambda: Mask(label="a", rows=2, columns=2, runs=(1, 2)),
        lambda: Masks(rows=3, columns=2, masks=(Mask(label="a", rows=2, columns=2, runs=(4,)),)),
        lambda: Classification(question="", options=("a", "b"), probabilities=(0.5, 0.4), said=None),
        lambda: Classification(question="", options=("a", "a"), probabilities=(0.5, 0.5), said=None),
        lambda: Classification(question="", options=("a", "b"), probabilities=(1.0,), said=None),
        lambda: Comparison(question="", label="better", better=0.5, worse=0.4, unchanged=0.3, change=1.0),
        lambda: Comparison(question="", label="same", better=0.5, worse=0.3, unchanged=0.2, change=1.0),
        lambda: CONTENT.validate_json('{"kind": "boxes", "rows": 1, "columns": 1}'),
    ],
)
def test_what_breaks_a_rule_cannot_be_made(broken: Any) -> None:
    with pytest.raises(ValidationError):
        broken()


def test_a_box_may_touch_the_edges_and_is_frozen() -> None:
    boxes = Boxes(rows=3, columns=4, boxes=(Box(label="a", **PLACE | {"top": 0.0, "left": 0.0}, score=0.5),))
    assert CONTENT.validate_json(boxes.model_dump_json()) == boxes
    with pytest.raises(ValidationError):
        boxes.rows = 9  # pyright: ignore


def test_every_task_is_named() -> None:
    assert len(TASKS) == len(set(TASKS)) == 9
