"""How fast the screens are under a reader's hands, in headless Chromium, beside a request to the server.

    python benchmarks/reading_room.py [--quick]

A CT phantom of 512 x 512 x 100 is opened from the worklist, read before. Measured: the seconds from the click
to the first image and to all; the change of a slice and a drag of the window until they are drawn, and beside
them, turn by turn, the peer: the same change where a viewer asks its server for the image (one request to the
route that this viewer fetches its stack from, unpacked and drawn); and the processor time that the server
spends on one rerun of the page. The last line is JSON: named ratios and figures.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from playwright.sync_api import Page, sync_playwright
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

ROOT = Path(__file__).parents[1]
CHROMIUM = "/usr/bin/chromium-headless-shell"
ROWS = 512

MOVES = """async moves => {
  const find = (node) => {
    for (const one of node.querySelectorAll("*")) {
      if (one.tagName === "CANVAS" && one.dataset.image) return one;
      const found = one.shadowRoot && find(one.shadowRoot);
      if (found) return found;
    }
  };
  const canvas = find(document);
  const source = performance.getEntriesByType("resource").find((one) => one.name.includes("/stacks/")).name;
  const drawn = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const timed = async (move) => {
    const start = performance.now();
    await move();
    return performance.now() - start;
  };
  const press = (key) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const { left, top } = canvas.getBoundingClientRect();
  const point = (type, x, y) => canvas.dispatchEvent(new PointerEvent(type,
    { pointerId: 1, button: 0, clientX: left + x, clientY: top + y, bubbles: true }));
  canvas.focus();
  const slices = [], windows = [], requests = [];
  const scratch = new OffscreenCanvas(512, 512).getContext("2d");
  for (let at = 0; at < moves; at++) {
    slices.push(await timed(async () => { press(at % 60 < 30 ? "ArrowUp" : "ArrowDown"); await drawn(); }));
    requests.push(await timed(async () => {
      const reply = await fetch(source.replace(/[0-9]+$/, at % 100), { cache: "no-store" });
      const bytes = new Uint8Array(await reply.arrayBuffer());
      const image = scratch.createImageData(512, 512);
      for (let pixel = 0; pixel < 512 * 512; pixel++) image.data[4 * pixel + 3] = bytes[2 * pixel];
      scratch.putImageData(image, 0, 0);
      await drawn();
    }));
  }
  point("pointerdown", 100, 100);
  for (let at = 0; at < moves; at++) {
    windows.push(await timed(async () => { point("pointermove", 100 + 2 * at, 100 + at); await drawn(); }));
  }
  point("pointerup", 100, 100);
  return [slices, windows, requests];
}"""


def write_stack(folder: Path, slices: int) -> None:
    """A CT phantom: a trunk with two lungs, a vertebra and a nodule."""
    rows, columns = np.indices((ROWS, ROWS))
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(slices):
        values = np.full((ROWS, ROWS), -1000.0)
        values[((columns - 256) / 220) ** 2 + ((rows - 256) / 170) ** 2 < 1] = 40
        for center in (170, 342):
            values[((columns - center) / 70) ** 2 + ((rows - 250) / 100) ** 2 < 1] = -850
        values[(columns - 256) ** 2 + (rows - 370) ** 2 < 28**2] = 400
        values[(columns - 330) ** 2 + (rows - 250) ** 2 < max(0, 18**2 - (number - slices / 2) ** 2)] = 60
        instance(values + rng.normal(0, 15, values.shape), number).save_as(
            folder / f"{number}.dcm", enforce_file_format=True
        )


def instance(values: Any, number: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.8.498.1.{number + 1}"
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (
        "1.2.826.0.1.3680043.8.498.2",
        "1.2.826.0.1.3680043.8.498.3",
    )
    dataset.Modality, dataset.InstanceNumber = "CT", number + 1
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 2 * number], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.RescaleSlope, dataset.RescaleIntercept = [0.7, 0.7], 1, 0
    dataset.WindowCenter, dataset.WindowWidth = 40, 400
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = ROWS, ROWS, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelData = values.astype("<i2").tobytes()
    return dataset


@contextmanager
def serving(place: Path) -> Iterator[tuple[str, psutil.Process]]:
    """`medvqa ui` on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "MEDVQA_AUDIT_URL": str(place / "trail.sqlite"),
        "MEDVQA_KEY_FOLDER": str(place / "keys"),
        "MEDVQA_STUDIES": str(place / "studies"),
    }
    command = [sys.executable, "-m", "medvqa", "ui", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.DEVNULL) as server:
        try:
            while True:
                try:
                    urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()  # noqa: S310
                    break
                except OSError:
                    time.sleep(0.1)
            yield url, psutil.Process(server.pid)
        finally:
            server.terminate()


def settle(page: Page) -> None:
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()


def open_study(page: Page) -> tuple[float, float]:
    """Seconds from the click in the worklist to the first image, and to all."""
    table = page.get_by_test_id("stDataFrame").first
    table.wait_for()
    settle(page)
    time.sleep(2)
    box = table.bounding_box()
    assert box is not None  # noqa: S101
    started = time.perf_counter()
    page.mouse.click(box["x"] + 24, box["y"] + 54)
    page.locator("canvas[data-ready=true]").wait_for()
    first = time.perf_counter() - started
    page.locator("canvas[data-complete=true]").wait_for()
    return first, time.perf_counter() - started


def rerun(page: Page, server: psutil.Process) -> float:
    """Seconds of the server's processor time for one rerun of the page: a suggested question is clicked."""
    settle(page)
    time.sleep(1)
    before = sum(server.cpu_times()[:2])
    page.get_by_role("radio", name="Which organ is this?").click()
    time.sleep(1.5)
    settle(page)
    return sum(server.cpu_times()[:2]) - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="fewer slices, moves and reruns")
    quick = parser.parse_args().quick
    slices, moves, reruns = (20, 10, 2) if quick else (100, 60, 9)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        place = Path(folder)
        write_stack(place / "studies" / "stack", slices)
        with serving(place) as (url, server):
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
            )
            page = browser.new_page(viewport={"width": 1366, "height": 768})
            page.set_default_timeout(120_000)
            page.goto(url)
            first, everything = open_study(page)
            drawn, windowed, requested = (statistics.median(one) for one in page.evaluate(MOVES, moves))
            seconds = statistics.median(rerun(page, server) for _ in range(reruns))
            browser.close()
    print(f"first image {first:.2f} s, all {slices} {everything:.1f} s after the click in the worklist")
    print(f"slice {drawn:.0f} ms, window {windowed:.0f} ms, by a request to the server {requested:.0f} ms")
    print(f"one rerun of the page: {seconds:.2f} s of processor time")
    figures = {
        "request_over_slice": requested / drawn,
        "slice_ms": drawn,
        "window_ms": windowed,
        "request_ms": requested,
        "first_image_s": first,
        "all_images_s": everything,
        "rerun_cpu_s": seconds,
    }
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
