"""`medvqa serve` as a process: its end, its load, slow and endless requests; and its command line."""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlparse

import httpx
import pytest
from command_line import run_medvqa
from service_place import KEYS, Server, ask, dicom, events, free_port, server

from medvqa.service.api_keys import digest_key, write_line
from medvqa.service.running import listen

QUESTIONS = ("Is there a tumor?", "Which organ is this?", "Is there a nodule?", "Is this normal?")


def test_a_key_is_printed_once_with_the_line_for_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_medvqa("serve", "key", "pacs-gateway", "--role", "senior") == 0
    key, line = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"medvqa_[A-Za-z0-9_-]{43}", key)
    assert line == f'"pacs-gateway" = {{ role = "senior", sha256 = "{digest_key(key)}" }}'
    assert not list(tmp_path.iterdir())
    assert run_medvqa("serve", "key", "x", "--role", "local") == 2
    assert run_medvqa("serve", "key", "two\nlines") == 2


@pytest.mark.usefixtures("own_place")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "on 0.0.0.0 anybody could ask"),  # noqa: S104
        (["--tls-key", "key.pem"], "both --tls-certificate and --tls-key"),
        (["--tls-key", "no.pem", "--tls-certificate", "no.pem"], "no.pem is not there"),
        (["--address", "ray://head:10001"], "give --replicas with it"),
    ],
)
def test_a_service_that_cannot_begin_says_why(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run_medvqa("serve", *options) == 18
    assert said in capsys.readouterr().err
    assert not (tmp_path / "trail.sqlite").exists()


@pytest.mark.usefixtures("own_place")
def test_an_address_that_is_taken_is_known_before_a_model_is_loaded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    port = free_port()
    with listen("127.0.0.1", port):
        assert run_medvqa("serve", "--port", port) == 18
    assert f"127.0.0.1:{port} cannot be listened on: " in capsys.readouterr().err


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all that do not end it; it knows who calls."""
    place = tmp_path_factory.mktemp("server")
    lines = [write_line(f"client {role}", key, role="reader") for role, key in KEYS.items()]
    (place / "medvqa.toml").write_text("upload_mib = 1\n[api_keys]\n" + "\n".join(lines) + "\n")
    with server(place) as begun:
        yield begun


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_clinicians_at_once_lose_no_answer_and_no_row(running: Server) -> None:
    def clinician(number: int) -> list[int]:
        role = list(KEYS)[number % 3]
        with httpx.Client(base_url=running.url, timeout=300) as client:
            answers = [
                ask(client, dicom(number), question, authorization=f"Bearer {KEYS[role]}")
                for question in QUESTIONS[:2]
            ]
            assert [one.status_code for one in answers] == [200, 200]
            return [one.json()["audit_id"] for one in answers]

    with ThreadPoolExecutor(12) as clinicians:
        rows = [row for rows in clinicians.map(clinician, range(12)) for row in rows]
    recorded = events(running.place, action="answer")
    assert sorted(rows) == [row.sequence for row in recorded]
    assert {row.agent for row in recorded} == {f"client {role}" for role in KEYS}
    headers = {"Authorization": f"Bearer {KEYS['reader']}"}
    counted = httpx.get(f"{running.url}/metrics", headers=headers).text
    batches = float(re.findall(r"^medvqa_questions_asked_together_count (.*)$", counted, re.M)[0])
    assert batches < 24  # what waited was asked together
    log = (running.place / "server.log").read_text()
    assert "Traceback" not in log
    assert not any(key in log for key in KEYS.values())


@pytest.mark.slow
def test_an_endless_body_is_broken_off(running: Server) -> None:
    address = urlparse(running.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    connection.putrequest("POST", "/v1/ask")
    for name, value in {
        "Authorization": f"Bearer {KEYS['reader']}",
        "Content-Type": "application/json",
        "Transfer-Encoding": "chunked",
    }.items():
        connection.putheader(name, value)
    connection.endheaders()
    sent = 0
    with contextlib.suppress(OSError):
        for _ in range(1000):
            connection.send(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
            sent += 0x10000
    assert sent < 64 << 20
    with contextlib.suppress(OSError):  # the connection may be closed while more is being sent
        assert connection.getresponse().status == 413
    headers = {"Authorization": f"Bearer {KEYS['reader']}"}
    counted = httpx.get(f"{running.url}/metrics", headers=headers).text
    assert 'medvqa_requests_total{path="/v1/ask",status="413"} 1.0' in counted


@pytest.mark.slow
def test_a_request_that_stops_half_way_is_given_up(running: Server) -> None:
    address = urlparse(running.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(
            b"POST /v1/ask HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\nAuthorization: Bearer " + KEYS["reader"].encode() + b'\r\n\r\n{"a'
        )
        began = time.monotonic()
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
        assert 25 < time.monotonic() - began < 55


@pytest.mark.slow
def test_sigterm_lets_who_waits_have_their_answer_and_turns_others_away(tmp_path: Path) -> None:
    with server(tmp_path) as running, httpx.Client(base_url=running.url, timeout=120) as client:
        waiting: list[httpx.Response] = []
        threads = [
            threading.Thread(target=lambda number=number: waiting.append(post(running.url, number)))
            for number in range(6)
        ]
        for thread in threads:
            thread.start()
        while not events(tmp_path, action="ask"):
            time.sleep(0.02)
        running.process.send_signal(signal.SIGTERM)
        while client.get("/health/ready").status_code == 200:
            time.sleep(0.02)
        refused = client.post("/chat", json={"prompt": "?"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
        assert client.get("/health/live").status_code == 200
        for thread in threads:
            thread.join()
        assert [one.status_code for one in waiting] == [200] * 6
        assert running.process.wait(timeout=60) == 0
    assert {one.json()["audit_id"] for one in waiting} == {
        row.sequence for row in events(tmp_path, action="answer")
    }


def post(url: str, number: int) -> httpx.Response:
    with httpx.Client(base_url=url, timeout=120) as client:
        return ask(client, dicom(number), "Is there a tumor?", heatmap="attention")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_replicas_answer_behind_the_same_application(tmp_path: Path) -> None:
    with server(tmp_path, "--replicas", "2") as running:
        with httpx.Client(base_url=running.url, timeout=120) as client, ThreadPoolExecutor(6) as callers:

            def answer(number: int) -> httpx.Response:
                return ask(client, dicom(number, PatientID="SECRET"), "Is there a tumor?")

            answers = list(callers.map(answer, range(6)))
            assert [one.status_code for one in answers] == [200] * 6
            again = answer(0)
            assert again.json()["recalled"] is not None
            assert client.post("/chat", json={"prompt": "Is it?"}).json()["rests_on_image"] is False
            refused = client.post("/chat", json={"prompt": " "})
            assert (refused.status_code, refused.json()["error"]["type"]) == (422, "QuestionError")
            assert client.get("/v1/jobs/x").status_code == 404
        assert running.stop() == 0
    rows = events(tmp_path, action="answer")
    assert sorted(one.json()["audit_id"] for one in answers) == [row.sequence for row in rows]
    assert len(events(tmp_path, action="load_model")) == 2  # each replica was asked
    assert all(row.patient for row in rows)
    assert b"SECRET" not in (tmp_path / "server.log").read_bytes()
