"""Fifty clinicians at once on `medvqa serve`, beside one alone and beside a naive endpoint.

    python benchmarks/service.py [--quick]

The naive endpoint is FastAPI around transformers' `generate` with a lock: the same model, images, questions
and clients, without checks and without a record. Every client asks about an image of its own, and never the
same twice, so that no answer is found in the trail. The last line is JSON: errors, answers without a verified
row, and ratios of times.
"""

import argparse
import base64
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import torch
import uvicorn
from fastapi import FastAPI
from PIL import Image as PillowImage
from transformers import AutoModelForImageTextToText, AutoProcessor

from audit import Filter, Log
from medvqa.imaging import to_uint8
from medvqa.models.checkpoints import find_checkpoint
from medvqa.prompts import chat_messages
from medvqa.simulated_study import write_simulated_study
from medvqa.study import read_study

CLIENTS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="twelve seconds each instead of sixty")
    parser.add_argument("--naive", type=int, metavar="PORT", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.naive:
        uvicorn.run(naive(), port=given.naive, log_level="warning")
        return
    seconds = 12 if given.quick else 60
    images = pictures()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with started(["-m", "medvqa", "serve"], place) as url:
            load(url, images[:1], 0.1)  # what is loaded on first use counts for nobody
            alone, _, failed_alone = load(url, images[:1], seconds / 4)
            many, rows, failed = load(url, images, seconds)
        lost = lost_rows(place, rows)
        with started([__file__, "--naive"], place) as url:
            load(url, images[:1], 0.1)
            naive_alone, _, _ = load(url, images[:1], seconds / 4)
            naive_many, _, naive_failed = load(url, images, seconds)
    for name, taken in (
        ("medvqa serve, one client", alone),
        (f"medvqa serve, {CLIENTS} clients", many),
        ("naive endpoint, one client", naive_alone),
        (f"naive endpoint, {CLIENTS} clients", naive_many),
    ):
        print(
            f"{name}: {len(taken)} answers, median {statistics.median(taken):.2f} s, p95 {p95(taken):.2f} s"
        )
    print(
        json.dumps(
            {
                "clients": CLIENTS,
                "errors": failed + failed_alone,
                "naive_errors": naive_failed,
                "answers_without_a_verified_row": lost,
                "p95_to_one_client": round(p95(many) / statistics.median(alone), 2),
                "naive_p95_to_one_client": round(p95(naive_many) / statistics.median(naive_alone), 2),
                "p95_to_naive": round(p95(many) / p95(naive_many), 2),
                "answers_per_second_to_naive": round(len(many) / len(naive_many), 3),
                "one_client_to_naive": round(statistics.median(alone) / statistics.median(naive_alone), 2),
            }
        )
    )


def pictures() -> list[str]:
    """An image for each client, as PNG in base64."""
    with tempfile.TemporaryDirectory() as folder:
        made: list[str] = []
        for seed in range((CLIENTS + 2) // 3):
            write_simulated_study(Path(folder) / str(seed), seed=seed)
            for image in read_study(Path(folder) / str(seed)).images:
                written = io.BytesIO()
                PillowImage.fromarray(to_uint8(image)).save(written, format="PNG")
                made.append(base64.b64encode(written.getvalue()).decode())
    return made[:CLIENTS]


def load(url: str, images: list[str], seconds: float) -> tuple[list[float], list[int], int]:
    """Seconds of each answer of a client an image, their rows, and how many requests failed."""
    taken: list[float] = []
    rows: list[int] = []
    failed = 0
    end = time.monotonic() + seconds

    def client(number: int) -> None:
        nonlocal failed
        asked = 0
        with httpx.Client(base_url=url, timeout=600) as session:
            while time.monotonic() < end:
                asked += 1
                question = f"Is there a nodule in image {number}, asked for time {asked} of {seconds:g} s?"
                began = time.perf_counter()
                body = {"question": question, "image": images[number]}
                response = session.post("/v1/ask", json=body)
                if response.status_code == 200:
                    taken.append(time.perf_counter() - began)
                    rows.append(response.json()["audit_id"])
                else:
                    failed += 1

    with ThreadPoolExecutor(len(images)) as clients:
        list(clients.map(client, range(len(images))))
    return taken, rows, failed


def lost_rows(place: Path, rows: list[int]) -> int:
    """Answers that the verified trail does not have."""
    with Log(f"sqlite:///{place / 'trail.sqlite'}", create=False) as log:
        if not log.verify().intact:
            return len(rows)
        recorded = {event.sequence for event in log.read(Filter(action="answer"))}
    return len(set(rows) - recorded) + len(rows) - len(set(rows))


@contextmanager
def started(command: list[str], place: Path) -> Iterator[str]:
    """Run a server until the block is left."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "MEDVQA_AUDIT_URL": str(place / "trail.sqlite"),
        "MEDVQA_KEY_FOLDER": str(place / "keys"),
        "MEDVQA_JOBS": str(place / "jobs"),
        "MEDVQA_UNFAMILIAR": "warn",
        "MEDVQA_REQUESTS_PER_MINUTE": "1000000",
    }
    options = [*command, port] if "--naive" in command else [*command, "--port", port]
    server = subprocess.Popen([sys.executable, *options], env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            try:
                httpx.get(f"{url}/health/ready", timeout=1).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=60)


def naive() -> FastAPI:
    """What one writes in an afternoon: a model, a lock, an endpoint."""
    processor = AutoProcessor.from_pretrained(find_checkpoint("default"), backend="pil")
    model = AutoModelForImageTextToText.from_pretrained(find_checkpoint("default"), dtype=torch.float32)
    app, lock = FastAPI(), threading.Lock()

    @app.get("/health/ready")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/v1/ask")
    def ask(body: dict[str, Any]) -> dict[str, Any]:
        picture = PillowImage.open(io.BytesIO(base64.b64decode(body["image"])))
        text = processor.apply_chat_template(chat_messages(body["question"]), add_generation_prompt=True)
        with lock, torch.inference_mode():
            inputs = processor(text=text, images=picture, return_tensors="pt", add_special_tokens=False)
            tokens = model.generate(**inputs, do_sample=False, max_new_tokens=32)
        said = processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return {"text": said, "audit_id": 0}

    return app


def p95(taken: list[float]) -> float:
    """The time that 95 of 100 answers kept."""
    return sorted(taken)[int(0.95 * (len(taken) - 1))]


if __name__ == "__main__":
    main()
