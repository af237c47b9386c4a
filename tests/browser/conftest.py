"""A real server and a real browser: Debian's headless Chromium, driven by Playwright."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from dicom_builder import image, write
from playwright.sync_api import BrowserContext, Page, Playwright, Request, expect, sync_playwright
from pydicom.uid import MRImageStorage

import medvqa

CHROMIUM = Path("/usr/bin/chromium-headless-shell")
ROOT = Path(medvqa.__file__).parents[1]
_ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
expect.set_options(timeout=60_000)  # the first answer waits for the model
SCREENSHOTS = ROOT / "build" / "screenshots"
"""Where the tests leave a picture of every page, to be looked at."""
SPOT = (60, 150)
"""Row and column of a bright spot in every slice of the phantom."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A server and a browser take long to start: these are run by `make slow`."""
    for one in items:
        if Path(__file__).parent in one.path.parents:
            one.add_marker(pytest.mark.slow)
            if not CHROMIUM.exists():
                one.add_marker(pytest.mark.skip(reason="Debian's chromium-headless-shell is not installed"))


@dataclass
class Screens:
    """A server of its own folder, trail and keys."""

    url: str
    place: Path
    server: subprocess.Popen[bytes]
    requests: list[Request] = field(default_factory=list)

    @property
    def trail(self) -> Path:
        return self.place / "trail.sqlite"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(place: Path, *, port: int | None = None, **settings: str) -> Iterator[Screens]:
    """Run `medvqa ui` until the block is left."""
    port = port or free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "MEDVQA_AUDIT_URL": str(place / "trail.sqlite"),
        "MEDVQA_KEY_FOLDER": str(place / "keys"),
        "MEDVQA_STUDIES": str(place / "studies"),
        "MEDVQA_AGENT": "dr-17",
        "MEDVQA_UNFAMILIAR": "warn",
        **settings,
    }
    command = [sys.executable, "-m", "medvqa", "ui", "--port", str(port)]
    with (place / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=place, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{url}/_stcore/health")
        yield Screens(url=url, place=place, server=server)
    finally:
        server.terminate()
        server.wait(timeout=20)


def wait_for(url: str) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"{url} did not come up")


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as driver:
        yield driver


@pytest.fixture
def phantom(tmp_path: Path) -> Path:
    """One MR stack of twelve slices, 240 x 216 pixels of 0.9 x 0.9 mm, in the folder of the worklist."""
    folder = tmp_path / "studies" / "stack"
    folder.mkdir(parents=True)
    rows, columns = np.indices((240, 216))
    for number in range(1, 13):
        stored = 300 * ((rows - 120) ** 2 / 110**2 + (columns - 108) ** 2 / 80**2 < 1) + number
        stored[(rows - SPOT[0]) ** 2 + (columns - SPOT[1]) ** 2 < 8**2] = 900
        write(
            folder / f"{number}.dcm",
            image(
                stored.astype(np.int16),
                number=number,
                Modality="MR",
                SOPClassUID=MRImageStorage,
                PixelSpacing=[0.9, 0.9],
                RescaleSlope=None,
                RescaleIntercept=None,
            ),
        )
    return folder


@pytest.fixture
def screens(phantom: Path, tmp_path: Path) -> Iterator[Screens]:
    """With that stack in the worklist."""
    assert phantom.is_dir()
    with serving(tmp_path) as running:
        yield running


@pytest.fixture
def browse(playwright: Playwright, tmp_path: Path) -> Iterator[Callable[[Screens], Page]]:
    """Opens the screens in a browser of its own, whose requests it notes."""
    contexts: list[BrowserContext] = []

    def opened(
        screens: Screens,
        *,
        width: int = 1366,
        height: int = 768,
        scale: float = 1,
        headers: dict[str, str] | None = None,
    ) -> Page:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / f"browser {len(contexts)}",
            executable_path=CHROMIUM,
            headless=True,
            args=_ARGUMENTS,
            viewport={"width": width, "height": height},
            device_scale_factor=scale,
            extra_http_headers=headers,
            accept_downloads=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("request", lambda request: screens.requests.append(request))
        page.goto(screens.url)
        return page

    yield opened
    for context in contexts:
        context.close()
