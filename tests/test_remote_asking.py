"""Asking a model behind a server, end to end: what is refused, recorded and shown."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_server import Asked, ChatServer, Said, chat_server
from dicom_builder import CANARY, image, planted, write
from PIL import Image as PillowImage
from typer.testing import CliRunner

import medvqa
from audit import Event, Filter, Log, ReadError
from medvqa.assistant import Assistant
from medvqa.checks.references import stand_ins
from medvqa.cli import app
from medvqa.digests import digest_model
from medvqa.errors import GateError, ModelError
from medvqa.explaining import explain
from medvqa.models.checkpoints import find_checkpoint
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.replay import replay_answer
from medvqa.types import UNKNOWN, Study

QUESTION = "Is there a nodule?"


def by_left_half(asked: Asked) -> Said:
    """Yes the surer the brighter the left half of the image is."""
    left = asked.pixels[:, : asked.pixels.shape[1] // 2].mean() / 255
    yes = float(1 / (1 + np.exp(-12 * (left - 0.4))))
    return [{"yes": yes, "no": 1 - yes}]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server(by_left_half) as running:
        yield running


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with Log(f"sqlite:///{tmp_path / 'audit.sqlite'}") as opened:
        yield opened


@pytest.fixture
def ask_with(server: ChatServer, log: Log, tmp_path: Path) -> Callable[..., Assistant]:
    def begin(**options: Any) -> Assistant:
        return Assistant(medvqa.connect(server.address, **options), audit=log, key_folder=tmp_path / "keys")

    return begin


def half_bright(rows: int = 60, columns: int = 48) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 60, (rows, columns)).astype(np.int16)
    pixels[:, : columns // 2] += 150
    return pixels


def study(folder: Path, **elements: Any) -> Study:
    """One slice, of which a file says that the patient's identity was removed unless `elements` say else."""
    elements = {"PatientIdentityRemoved": "YES", "WindowCenter": 128, "WindowWidth": 256, **elements}
    folder.mkdir(exist_ok=True)
    write(folder / "one.dcm", image(half_bright(), **elements))
    return medvqa.read_study(folder)


def events(log: Log, action: str) -> list[Event]:
    return list(log.read(Filter(action=action)))


def test_an_answer_of_a_server_is_checked_and_recorded(
    ask_with: Callable[..., Assistant], server: ChatServer, log: Log, tmp_path: Path
) -> None:
    answer = ask_with().ask(study(tmp_path / "s"), QUESTION, heatmap="occlusion")
    assert answer.text == "yes"
    assert answer.checks.image_effect > 0.7
    assert not answer.checks.confidence_calibrated
    assert answer.heatmap is not None
    assert answer.heatmap.values[:, :20].max() == 1
    assert answer.heatmap.values[:, 30:].max() == 0
    assert [notice.code for notice in answer.warnings if notice.code == "remote_model"] == ["remote_model"]
    (row,) = events(log, "answer")
    assert row.entity["model"]["weights_sha256"] == UNKNOWN
    assert row.entity["model"]["name"] == server.address
    assert "remote_model" in row.entity["warnings"]
    assert log.verify().intact


def test_models_of_other_servers_are_told_apart(server: ChatServer) -> None:
    one = medvqa.connect(server.address).identity
    other = medvqa.connect(f"{server.url}#other").identity
    assert digest_model(one) != digest_model(other)


@pytest.mark.parametrize(
    ("elements", "why"),
    [
        ({"PatientIdentityRemoved": None}, "(0012,0062)"),
        ({"PatientIdentityRemoved": "NO"}, "(0012,0062)"),
        ({"BurnedInAnnotation": "YES"}, "(0028,0301)"),
    ],
)
def test_what_may_name_the_patient_is_not_sent(
    ask_with: Callable[..., Assistant],
    server: ChatServer,
    log: Log,
    tmp_path: Path,
    elements: dict[str, Any],
    why: str,
) -> None:
    assistant, before = ask_with(), len(server.asked)
    with pytest.raises(GateError, match="set remote_identified = true") as caught:
        assistant.ask(study(tmp_path / "s", **elements), QUESTION)
    assert why in str(caught.value)
    assert len(server.asked) == before
    (refusal,) = events(log, "refuse")
    assert refusal.entity["reason"] == str(caught.value)
    assert ask_with(identified=True).ask(study(tmp_path / "s", **elements), QUESTION).text == "yes"


def test_one_file_that_is_not_marked_is_enough(ask_with: Callable[..., Assistant], tmp_path: Path) -> None:
    study(tmp_path / "s")
    write(tmp_path / "s" / "two.dcm", image(half_bright(), number=2))
    with pytest.raises(GateError, match="not all of its files"):
        ask_with().ask(medvqa.read_study(tmp_path / "s"), QUESTION)


def test_a_picture_that_says_nothing_is_not_sent(ask_with: Callable[..., Assistant], tmp_path: Path) -> None:
    PillowImage.fromarray(half_bright().astype(np.uint8)).save(tmp_path / "p.png")
    with pytest.raises(GateError, match="not all of its files"):
        ask_with().ask(medvqa.read_study(tmp_path / "p.png"), QUESTION)


def test_explaining_does_not_send_it_either(
    ask_with: Callable[..., Assistant], server: ChatServer, log: Log, tmp_path: Path
) -> None:
    marked, unmarked = study(tmp_path / "s"), study(tmp_path / "t", PatientIdentityRemoved=None)
    assistant = ask_with()
    answer, before = assistant.ask(marked, QUESTION), len(server.asked)
    with pytest.raises(GateError):
        assistant.explain(answer, unmarked, unmarked.images[0], "occlusion")
    assert len(server.asked) == before
    assert len(events(log, "refuse")) == 1


def test_no_attribute_of_the_patient_leaves(
    ask_with: Callable[..., Assistant], server: ChatServer, tmp_path: Path
) -> None:
    (tmp_path / CANARY).mkdir()
    write(tmp_path / CANARY / "one.dcm", planted(image(half_bright(), PatientIdentityRemoved="YES")))
    ask_with().ask(medvqa.read_study(tmp_path / CANARY), QUESTION, heatmap="occlusion")
    for sent in server.asked:
        assert CANARY not in json.dumps(sent.body)
        assert CANARY not in str(sent.headers)
        assert CANARY.encode() not in sent.png


def test_other_methods_are_refused_before_anything_is_sent(
    ask_with: Callable[..., Assistant], server: ChatServer, tmp_path: Path
) -> None:
    assistant, before = ask_with(), len(server.asked)
    with pytest.raises(ModelError, match=r"grad_cam needs the inside of a model.*explain it by occlusion"):
        assistant.ask(study(tmp_path / "s"), QUESTION, heatmap="grad_cam")
    assert len(server.asked) == before


def test_all_methods_are_those_that_there_are(ask_with: Callable[..., Assistant], tmp_path: Path) -> None:
    study(tmp_path / "s")
    write(tmp_path / "s" / "two.dcm", image(half_bright(), number=2, PatientIdentityRemoved="YES"))
    explanation = explain(tmp_path / "s", QUESTION, assistant=ask_with())
    assert [mapped.heatmap.method for mapped in explanation.maps] == ["occlusion"]
    assert explanation.slices is None
    explanation.save(tmp_path / "why.png")


def test_another_answer_than_was_recorded_is_not_explained(
    ask_with: Callable[..., Assistant], server: ChatServer, tmp_path: Path
) -> None:
    opened = study(tmp_path / "s")
    answer = ask_with().ask(opened, QUESTION)
    server.answer = lambda _: [{"no": 0.9, "yes": 0.1}]
    with pytest.raises(ModelError, match="another answer now than was recorded"):
        ask_with().explain(answer, opened, opened.images[0], "occlusion")


def test_an_answer_of_a_server_is_not_replayed(
    ask_with: Callable[..., Assistant], log: Log, tmp_path: Path
) -> None:
    answer = ask_with().ask(study(tmp_path / "s"), QUESTION)
    with pytest.raises(ReadError, match="on a server, whose weights nobody here knows"):
        replay_answer(log, answer.answer_id, tmp_path / "s")


def test_the_command_line_asks_a_server(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study(tmp_path / "s")
    command = ["ask", "s", QUESTION, "--model", server.address, "--audit", "a.sqlite"]
    refused = CliRunner().invoke(app, command)
    assert "set remote = true" in str(refused.exception)
    assert server.asked == []
    (tmp_path / "medvqa.toml").write_text("remote = true\n")
    shown = CliRunner().invoke(app, [*command, "--heatmap", "occlusion"])
    assert shown.exit_code == 0, shown.output
    assert "remote_model" in shown.output
    assert "yes" in shown.output


# A real server: transformers' own, with the model that medvqa ships.


@pytest.fixture(scope="module")
def transformers_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Its address, and a folder with the same model whose settings let it draw answers at random."""
    pytest.importorskip("fastapi")
    drawing = tmp_path_factory.mktemp("drawing")
    for file in find_checkpoint("default").iterdir():
        (drawing / file.name).symlink_to(file)
    settings = json.loads((drawing / "generation_config.json").read_text())
    (drawing / "generation_config.json").unlink()
    (drawing / "generation_config.json").write_text(json.dumps({**settings, "do_sample": True}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The weights are in half precision, and it gives the tower pixels in single: float32 for both.
    serve = Path(sys.executable).with_name("transformers")
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    with (tmp_path_factory.mktemp("log") / "server").open("w") as output:
        running = subprocess.Popen(
            [serve, "serve", *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )
    try:
        _await(port, running)
        yield f"http://127.0.0.1:{port}/v1", drawing
    finally:
        running.send_signal(signal.SIGINT)
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def _await(port: int, running: subprocess.Popen[bytes]) -> None:
    for _ in range(480):
        assert running.poll() is None, "transformers serve ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.25)
        else:
            return
    raise AssertionError("transformers serve did not begin")


@pytest.mark.slow
def test_a_real_server_answers_as_the_model_does_here(
    transformers_server: tuple[str, Path], default_model: HuggingFaceModel
) -> None:
    url, _ = transformers_server
    model = medvqa.connect(f"{url}#{find_checkpoint('default')}")
    assert model.identity.parameters["likelihood"] == "agreement of 1 answer"
    for picture in stand_ins():
        for question in (QUESTION, "Which modality is this?"):
            assert model.generate(picture, question).text == default_model.generate(picture, question).text


@pytest.mark.slow
def test_a_real_server_that_draws_is_asked_and_explained(
    transformers_server: tuple[str, Path], log: Log, tmp_path: Path
) -> None:
    url, drawing = transformers_server
    assistant = Assistant(
        medvqa.connect(f"{url}#{drawing}"), audit=log, key_folder=tmp_path / "keys", agent="dr-17"
    )
    assert assistant.model.identity.parameters["likelihood"] == "agreement of 5 answers"
    levels = (stand_ins()[1].pixels * 255).astype(np.int16)
    (tmp_path / "s").mkdir()
    elements = {"PatientIdentityRemoved": "YES", "WindowCenter": 128, "WindowWidth": 256}
    write(tmp_path / "s" / "one.dcm", image(levels, **elements))
    answer = assistant.ask(medvqa.read_study(tmp_path / "s"), "Which modality is this?", heatmap="occlusion")
    assert answer.text == "X-ray"
    assert answer.checks.confidence == pytest.approx(6 / 7)
    assert answer.checks.verdict == "grounded"
    assert answer.heatmap is not None
    assert answer.heatmap.grade is None


def test_a_real_server_without_the_model(transformers_server: tuple[str, Path]) -> None:
    url, _ = transformers_server
    with pytest.raises(ModelError, match=r"the server 127\.0\.0\.1:\d+ "):
        medvqa.connect(f"{url}#nobody/nothing", timeout_s=30)
