"""A recorded answer is computed again, bit for bit, or what differs is named: row, image, files, output."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from dicom_builder import image, lookup_table, planted, write
from peft import LoraConfig, get_peft_model
from PIL import Image as PillowImage
from tiny_models import write_llava
from transformers import AutoModelForImageTextToText

from audit import Entry, Event, Filter, Log, ReadError
from medvqa.assistant import Assistant
from medvqa.errors import DicomError, ModelError, RecordError
from medvqa.models.loading import load_model
from medvqa.records import Agent
from medvqa.replay import Difference, Replay, replay_answer
from medvqa.study import read_study
from medvqa.types import Answer

QUESTION = "Is there a nodule?"
BY = Agent(name="dr-17", role="auditor")


def slice_of_ct(seed: int = 0, **elements: Any) -> pydicom.FileDataset:
    pixels = np.random.default_rng(seed).integers(-1000, 1000, (48, 40)).astype(np.int16)
    return image(pixels, number=seed + 1, **elements)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def lora(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    plain = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    folder = tmp_path_factory.mktemp("lora")
    get_peft_model(plain, config).save_pretrained(folder)
    return folder


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with Log(f"sqlite:///{tmp_path / 'audit.sqlite'}", busy_timeout_s=0.2) as opened:
        yield opened


@pytest.fixture
def model(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path / "model"))


@pytest.fixture
def adapter(lora: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lora, tmp_path / "adapter"))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    for seed in range(3):
        write(tmp_path / "study" / f"{seed}.dcm", slice_of_ct(seed))
    return tmp_path / "study"


@pytest.fixture
def answered(log: Log, model: Path, adapter: Path, study: Path) -> Answer:
    """An answer of a tiny model with its adapter, about the middle image of a CT shown by its lung window."""
    loaded = load_model(model, adapter=adapter, device="cpu", max_new_tokens=6)
    assistant = Assistant(loaded, audit=log, agent="dr-17")
    return assistant.ask(read_study(study, window="lung"), QUESTION, heatmap="attention")


def flip_a_byte(path: Path, *, at: int = -5) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def whats(replay: Replay) -> list[str]:
    return [difference.what for difference in replay.differences]


def again(log: Log, answered: Answer, study: Path, **options: Any) -> Replay:
    return replay_answer(log, answered.answer_id, study, by=BY, **options)


def recorded_otherwise(log: Log, answer: Answer, change: Callable[[dict[str, Any]], None]) -> str:
    """Append the answer's event anew with a changed entity, as though that had been recorded."""
    event = next(log.read(Filter(sequence=answer.audit_id)))
    entity = json.loads(json.dumps(event.entity))
    change(entity)
    appended = log.append(
        Entry(agent=event.agent, action=event.action, subject=f"other-{event.subject}", entity=entity)
    )
    return str(appended.sequence)


def replays(log: Log) -> list[Event]:
    return list(log.read(Filter(action="replay")))


def test_an_answer_replays_identically_and_the_replay_is_recorded(
    log: Log, answered: Answer, study: Path
) -> None:
    threads = torch.get_num_threads()
    by_id, by_row = (
        replay_answer(log, reference, study, by=BY)
        for reference in (answered.answer_id, str(answered.audit_id))
    )
    assert by_id == by_row
    assert by_id.identical
    assert by_id.reproduced
    assert by_id.differences == ()
    assert (by_id.row, by_id.answer_id) == (answered.audit_id, answered.answer_id)
    assert torch.get_num_threads() == threads
    first, _ = replays(log)
    assert (first.agent, first.role, first.subject) == ("dr-17", "auditor", answered.answer_id)
    assert first.entity["row"] == answered.audit_id
    assert first.entity["identical"] is True
    assert first.entity["first_difference"] is None
    assert log.verify().intact


@pytest.mark.slow
def test_the_shipped_model_replays_in_another_process_that_has_other_threads(
    log: Log, study: Path, tmp_path: Path
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assistant = Assistant(load_model(device="cpu"), audit=log, unfamiliar="warn")
        answer = assistant.ask(read_study(study), QUESTION, heatmap="integrated_gradients")
    finally:
        torch.set_num_threads(before)
    code = (
        "import sys; from audit import Log; from medvqa.replay import replay_answer;"
        "print(replay_answer(Log(sys.argv[1]), sys.argv[2], sys.argv[3]))"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'audit.sqlite'}", answer.answer_id, study]
    run = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert "differences=(), reproduced=True" in run.stdout


@pytest.mark.parametrize("at", [-5, 9], ids=["a weight", "the header, so that it loads no more"])
def test_one_flipped_byte_of_the_adapter_is_named_as_that(
    log: Log, answered: Answer, study: Path, adapter: Path, at: int
) -> None:
    flip_a_byte(adapter / "adapter_model.safetensors", at=at)
    found = again(log, answered, study)
    assert whats(found) == ["adapter"]
    assert found.reproduced is None
    assert not found.identical
    assert found.differences[0].recorded == answered.model.adapter_sha256
    assert replays(log)[0].entity["first_difference"]["what"] == "adapter"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("model.safetensors", "weights"),
        ("config.json", "weights"),
        ("tokenizer.json", "tokenizer"),
        ("chat_template.jinja", "tokenizer"),
        ("processor_config.json", "tokenizer"),
    ],
)
def test_one_flipped_byte_of_the_model_is_named(
    log: Log, answered: Answer, study: Path, model: Path, file: str, what: str
) -> None:
    flip_a_byte(model / file)
    found = again(log, answered, study)
    assert whats(found) == [what]
    assert found.reproduced is None


def test_another_adapter_and_none_are_named(log: Log, answered: Answer, study: Path, base: Path) -> None:
    assert whats(again(log, answered, study, adapter=base)) == ["adapter"]
    row = recorded_otherwise(
        log, answered, lambda entity: entity["model"].update(adapter=None, adapter_sha256=None)
    )
    found = replay_answer(log, row, study)
    assert whats(found)[0] == "token ids" or "log-probabilities" in whats(found)
    assert found.reproduced is False


def test_one_pixel_of_the_study_is_named(log: Log, answered: Answer, study: Path) -> None:
    changed = slice_of_ct(1)
    flipped = bytearray(changed.PixelData)
    flipped[77] ^= 1
    changed.PixelData = bytes(flipped)
    write(study / "1.dcm", changed)
    found = again(log, answered, study)
    assert whats(found) == ["pixels"]
    assert found.differences[0].recorded == answered.image.pixel_sha256
    assert found.reproduced is None


def test_pixels_that_can_no_longer_be_decoded_are_named_without_the_file_in_the_trail(
    log: Log, answered: Answer, study: Path
) -> None:
    cut = slice_of_ct(1)
    cut.PixelData = cut.PixelData[:100]
    (study / "1.dcm").unlink()
    write(study / "CANARY.dcm", cut)
    found = again(log, answered, study)
    assert whats(found) == ["pixels"]
    assert "CANARY.dcm" in (found.differences[0].note or "")
    assert "CANARY" not in str(replays(log)[0].entity)


def test_another_study_does_not_hold_the_image(log: Log, answered: Answer, study: Path) -> None:
    (study / "1.dcm").unlink()
    found = again(log, answered, study)
    assert whats(found) == ["image"]
    assert answered.image.sop_instance_uid in (found.differences[0].recorded or "")


def test_of_two_copies_the_one_that_was_asked_about_is_taken(log: Log, answered: Answer, study: Path) -> None:
    write(study / "0-earlier.dcm", slice_of_ct(7, SOPInstanceUID=answered.image.sop_instance_uid))
    assert again(log, answered, study).identical


def test_another_header_around_the_same_pixels_is_told_and_replays(
    log: Log, answered: Answer, study: Path
) -> None:
    write(study / "1.dcm", planted(slice_of_ct(1)))
    found = again(log, answered, study)
    assert whats(found) == ["file"]
    assert found.reproduced
    assert not found.identical
    assert "CANARY" not in repr(found)


def test_the_recorded_window_is_applied_whatever_the_rule_says_today(
    log: Log, answered: Answer, study: Path
) -> None:
    row = recorded_otherwise(log, answered, lambda entity: entity["applied"][1]["parameters"].update(width=2))
    found = replay_answer(log, row, study)
    assert found.reproduced is False
    assert not any(what.startswith("transform") for what in whats(found))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda applied: applied[0]["parameters"].update(slope=2), "transform Rescale"),
        (lambda applied: applied[1].update(name="sharpen"), "transform sharpen"),
        (lambda applied: applied[1]["parameters"].update(width="wide"), "transform voi_window"),
    ],
)
def test_a_transform_that_cannot_be_applied_is_named(
    log: Log, answered: Answer, study: Path, change: Any, what: str
) -> None:
    row = recorded_otherwise(log, answered, lambda entity: change(entity["applied"]))
    found = replay_answer(log, row, study)
    assert whats(found) == [what]
    assert found.reproduced is None


@pytest.mark.parametrize(
    "elements",
    [
        {"PhotometricInterpretation": "MONOCHROME1", "PixelPaddingValue": -1000},
        {"WindowCenter": 10, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"},
        {"VOILUTSequence": [lookup_table(first=-500, bits=8, entries=[*range(0, 256, 2)], signed=True)]},
        {"Modality": "MR", "RescaleSlope": None},
        {"Modality": "DX"},
    ],
)
def test_every_presentation_is_applied_again(
    log: Log, base: Path, tmp_path: Path, elements: dict[str, Any]
) -> None:
    study = write(tmp_path / "one.dcm", slice_of_ct(**elements))
    answer = Assistant(load_model(base, device="cpu", max_new_tokens=2), audit=log).ask(
        read_study(study), QUESTION
    )
    assert again(log, answer, study).identical


def test_a_picture_and_a_frame_of_several_replay(log: Log, base: Path, tmp_path: Path) -> None:
    frames = np.random.default_rng(3).integers(0, 255, (3, 48, 40)).astype(np.uint8)
    PillowImage.fromarray(frames[0]).save(tmp_path / "one.png")
    write(tmp_path / "many.dcm", image(frames))
    assistant = Assistant(load_model(base, device="cpu", max_new_tokens=2), audit=log)
    for name in ("one.png", "many.dcm"):
        answer = assistant.ask(read_study(tmp_path / name), QUESTION)
        assert again(log, answer, tmp_path / name).identical


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda model: model["parameters"].update(decoding="beams"), "decoding"),
        (lambda model: model["parameters"].update(dtype="float16"), "dtype"),
        (lambda model: model["parameters"].update(device="mps"), "device"),
        (lambda model: model["parameters"].update(attention="eager"), "attention"),
        (lambda model: model["parameters"].update(hardware="abacus"), "hardware"),
        (lambda model: model["libraries"].update(torch="1.0"), "library torch"),
        (lambda model: model.update(prompt_version="0"), "prompt version"),
        (lambda model: model.update(calibration_sha256="0" * 64), "calibration"),
        (lambda model: model.pop("calibration_sha256"), None),
    ],
)
def test_other_circumstances_are_named_and_the_answer_is_computed_all_the_same(
    log: Log, answered: Answer, study: Path, change: Any, what: str | None
) -> None:
    threads = torch.get_num_threads()
    row = recorded_otherwise(log, answered, lambda entity: change(entity["model"]))
    found = replay_answer(log, row, study)
    assert whats(found) == ([] if what is None else [what])
    assert found.reproduced
    assert found.identical == (what is None)
    assert torch.get_num_threads() == threads


def test_the_recorded_number_of_threads_is_used_and_given_back(
    log: Log, model: Path, adapter: Path, study: Path
) -> None:
    """A sum in another number of parts may differ in its last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        loaded = load_model(model, adapter=adapter, device="cpu", max_new_tokens=6)
        answer = Assistant(loaded, audit=log, agent="dr-17").ask(read_study(study, window="lung"), QUESTION)
    finally:
        torch.set_num_threads(threads)
    found = again(log, answer, study)
    assert found.identical
    assert torch.get_num_threads() == threads


def off_by_a_bit(entity: dict[str, Any]) -> None:
    token = entity["tokens"][0]
    token["log_probability"] = np.nextafter(token["log_probability"], -np.inf).item()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda entity: entity["token_ids"].__setitem__(0, 5), ["token ids"]),
        (lambda entity: entity.update(answer="no"), ["text"]),
        (off_by_a_bit, ["log-probabilities"]),
        (lambda entity: entity["checks"].update(image_reliance=0.125), ["check image reliance"]),
        (lambda entity: entity["checks"].update(verdict="grounded"), ["verdict"]),
        (lambda entity: entity["checks"].update(abstains=True), ["check abstains"]),
        (
            lambda entity: entity["checks"]["log_likelihoods_others"].__setitem__(2, -0.5),
            ["check log likelihoods others"],
        ),
        (
            lambda entity: entity["checks"]["log_likelihoods_paraphrased"].pop(),
            ["check log likelihoods paraphrased"],
        ),
        (lambda entity: entity.update(checks_version="1"), ["checks version"]),
        (lambda entity: entity["heatmap"].update(sha256="0" * 64), ["heatmap attention"]),
        (lambda entity: entity["prompt"].update(token_sha256="0" * 64), ["prompt token sha256"]),
    ],
)
def test_what_of_the_output_differs_is_named(
    log: Log, answered: Answer, study: Path, change: Any, expected: list[str]
) -> None:
    found = replay_answer(log, recorded_otherwise(log, answered, change), study)
    assert whats(found) == expected
    assert found.reproduced is False


def as_before_versions(entity: dict[str, Any]) -> None:
    """An answer's row as it was written before checks had a version."""
    del entity["checks_version"], entity["model"]["calibration_sha256"]
    checks = entity["checks"]
    entity["checks"] = {
        "confidence": checks["token_probability"],
        "confidence_calibrated": False,
        "image_reliance": checks["image_reliance"] + 1e-7,
        "log_likelihood": checks["log_likelihood"] + 1e-7,
        "log_likelihood_blanked": checks["log_likelihood_blanked"],
        "verdict": "grounded",
    }


def test_rows_of_before_checks_had_a_version_are_replayed(log: Log, answered: Answer, study: Path) -> None:
    assert replay_answer(log, recorded_otherwise(log, answered, as_before_versions), study).identical

    def surer(entity: dict[str, Any]) -> None:
        as_before_versions(entity)
        entity["checks"]["confidence"] += 0.25

    found = replay_answer(log, recorded_otherwise(log, answered, surer), study)
    assert whats(found) == ["check token probability"]


def test_log_probabilities_alone_say_by_how_much(log: Log, answered: Answer, study: Path) -> None:
    def worse(entity: dict[str, Any]) -> None:
        entity["tokens"][1]["log_probability"] -= 0.5

    (difference,) = replay_answer(log, recorded_otherwise(log, answered, worse), study).differences
    assert difference.note is not None
    assert "the first is token 2" in difference.note
    assert "0.5 nats" in difference.note
    assert difference.found == json.dumps(answered.tokens[1].log_probability)


def tamper(tmp_path: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(tmp_path / "audit.sqlite") as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute(statement, values)
    connection.close()


def test_an_altered_row_is_named_before_all_else(
    log: Log, answered: Answer, study: Path, tmp_path: Path
) -> None:
    event = next(log.read(Filter(sequence=answered.audit_id)))
    tamper(
        tmp_path,
        "UPDATE event SET body = replace(body, ?, ?) WHERE sequence = ?",
        QUESTION,
        "Is there a tumor?",
        answered.audit_id,
    )
    (study / "1.dcm").unlink()
    found = again(log, answered, study)
    assert whats(found) == [f"row {answered.audit_id}"]
    assert found.differences[0].recorded == event.hash != found.differences[0].found
    assert found.reproduced is None
    assert replays(log)[0].entity["first_difference"]["what"] == f"row {answered.audit_id}"


def test_an_archived_row_has_nothing_to_replay(
    log: Log, answered: Answer, study: Path, tmp_path: Path
) -> None:
    tamper(tmp_path, "UPDATE event SET body = NULL WHERE sequence = ?", answered.audit_id)
    with pytest.raises(ReadError, match=f"row {answered.audit_id} of the audit trail is archived"):
        again(log, answered, study)


@pytest.mark.parametrize("reference", ["999", "nothing", "9" * 40])
def test_an_answer_that_is_not_there(log: Log, study: Path, reference: str) -> None:
    with pytest.raises(ReadError, match=f"holds no answer {reference}"):
        replay_answer(log, reference, study)
    assert not replays(log)


def test_rows_that_are_no_answers_are_refused(log: Log, answered: Answer, study: Path) -> None:
    entries = [
        Entry(agent="dr-17", action="review", subject=answered.answer_id, entity={}),
        Entry(agent="dr-17", action="answer", subject="broken", entity={"question": QUESTION}),
        Entry(agent="dr-17", action="answer", subject="failed", entity={}, outcome="failed"),
    ]
    for event, reason in zip(log.append_all(entries), ("not an answer", "all that", "failed"), strict=True):
        with pytest.raises(ReadError, match=reason):
            replay_answer(log, str(event.sequence), study)


def test_a_study_that_is_not_there(log: Log, answered: Answer, tmp_path: Path) -> None:
    with pytest.raises(DicomError):
        again(log, answered, tmp_path / "nowhere")


def test_a_model_that_moved_is_named_by_its_new_place(
    log: Log, answered: Answer, study: Path, model: Path, tmp_path: Path
) -> None:
    moved = model.rename(tmp_path / "moved")
    with pytest.raises(ModelError, match="neither a folder nor a model"):
        again(log, answered, study)
    assert again(log, answered, study, model=moved).identical


def test_no_result_without_a_record(log: Log, answered: Answer, study: Path, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "audit.sqlite", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(RecordError, match="withheld"):
        again(log, answered, study)
    connection.execute("ROLLBACK")
    connection.close()
    assert again(log, answered, study).identical


def test_the_nouns_are_frozen() -> None:
    difference = Difference(what="adapter", recorded="a", found=None)
    assert not Replay(row=1, answer_id="a", differences=(difference,), reproduced=None).identical
    assert {difference} == {Difference(what="adapter", recorded="a", found=None)}
