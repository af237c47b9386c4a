"""A service in its own place: in this process for most tests, as a server for its end and for load."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from dicom_builder import image
from fastapi.testclient import TestClient
from PIL import Image as PillowImage

import medvqa
from audit import Event, Filter, Log
from medvqa.access import ApiKey
from medvqa.models.base import VisionLanguageModel
from medvqa.service.api_keys import digest_key, make_key
from medvqa.service.callers import Door
from medvqa.service.running import OwnService
from medvqa.settings import Settings

ROOT = Path(medvqa.__file__).parents[1]
KEYS = {name: make_key() for name in ("reader", "senior", "auditor")}
"""Of three callers, by their roles."""
API_KEYS: dict[str, ApiKey] = {
    f"the {role}": ApiKey(role=role, sha256=digest_key(key))  # type: ignore[arg-type]
    for role, key in KEYS.items()
}
"""The same as medvqa.toml has them."""


def settings_of(place: Path, **changed: Any) -> Settings:
    return Settings(
        **{
            "audit_url": f"sqlite:///{place / 'trail.sqlite'}",
            "agent": "dr-17",
            "key_folder": place / "keys",
            "jobs": place / "jobs",
            "unfamiliar": "warn",
            "requests_per_minute": 10_000,
            **changed,
        }
    )


@contextmanager
def service(model: VisionLanguageModel, settings: Settings) -> Iterator[TestClient]:
    """The service in this process, with a model."""
    door = Door(settings, host="127.0.0.1")
    own = OwnService(model, log=Log(settings.audit_url), settings=settings, door=door)
    try:
        with TestClient(own.guard, base_url="http://127.0.0.1") as client:
            yield client
    finally:
        own.close()


@dataclass
class Server:
    """`medvqa serve` as a process."""

    url: str
    place: Path
    process: subprocess.Popen[bytes]

    def stop(self) -> int:
        """Its exit code after SIGTERM."""
        self.process.terminate()
        return self.process.wait(timeout=60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(place: Path, *options: str, **settings: str) -> Iterator[Server]:
    """Run `medvqa serve` until the block is left; `medvqa.toml` in the place is read."""
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin are slow where others want the processor
        "MEDVQA_AUDIT_URL": str(place / "trail.sqlite"),
        "MEDVQA_KEY_FOLDER": str(place / "keys"),
        "MEDVQA_JOBS": str(place / "jobs"),
        "MEDVQA_AGENT": "dr-17",
        "MEDVQA_UNFAMILIAR": "warn",
        "MEDVQA_REQUESTS_PER_MINUTE": "100000",
        **settings,
    }
    command = [sys.executable, "-m", "medvqa", "serve", "--port", str(port), *options]
    with (place / "server.log").open("a") as log:
        process = subprocess.Popen(command, cwd=place, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{url}/health/ready", process)
        yield Server(url=url, place=place, process=process)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310
                return
        except OSError:
            if process.poll() is not None:
                raise
            time.sleep(0.1)
    raise TimeoutError(f"{url} did not come up")


def events(place: Path, **matching: Any) -> list[Event]:
    """Rows of the place's trail, which must hold."""
    with Log(f"sqlite:///{place / 'trail.sqlite'}", create=False) as log:
        assert log.verify().intact
        return list(log.read(Filter(**matching)))


def dicom(seed: int = 0, *, number: int = 1, **elements: Any) -> bytes:
    """One MR slice of noise, as a file."""
    stored = np.random.default_rng(seed).integers(0, 900, (64, 48)).astype(np.int16)
    written = BytesIO()
    given = {"Modality": "MR", "RescaleSlope": None, "RescaleIntercept": None, **elements}
    image(stored, number=number, **given).save_as(written, enforce_file_format=True)
    return written.getvalue()


def png(seed: int = 0) -> bytes:
    """A picture of noise, as a file."""
    written = BytesIO()
    noise = np.random.default_rng(seed).integers(0, 255, (64, 48)).astype(np.uint8)
    PillowImage.fromarray(noise).save(written, format="PNG")
    return written.getvalue()


def ask(client: httpx.Client, content: bytes, question: str, **fields: str) -> httpx.Response:
    headers = {"Authorization": fields.pop("authorization")} if "authorization" in fields else {}
    return client.post(
        "/v1/ask",
        files={"image": ("SECRET^NAME.dcm", content)},
        data={"question": question, **fields},
        headers=headers,
    )
