"""A clinician's way through the screens, in a real browser: worklist, images, answer, verdict, signature."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
from playwright.sync_api import Locator, Page, expect
from pypdf import PdfReader

from browser.conftest import SPOT, Screens, serving
from browser.steps import Browse, amend, ask, choose_row, events, keep, open_first_study
from medvqa.simulated_study import write_simulated_study


def shades(canvas: Locator) -> np.ndarray:
    """The canvas as RGB, shape (height, width, 3), in device pixels."""
    width, height, pixels = canvas.evaluate(
        """canvas => {
            const context = canvas.getContext('2d');
            const {data} = context.getImageData(0, 0, canvas.width, canvas.height);
            return [canvas.width, canvas.height, Array.from(data)];
        }"""
    )
    return np.array(pixels, dtype=np.uint8).reshape(height, width, 4)[..., :3].astype(int)


def place(canvas: Locator) -> tuple[float, float, float, float]:
    """Where the image lies: left, top, and canvas pixels for a pixel across and down."""
    x, y, across, down = map(float, (canvas.get_attribute("data-place") or "").split(","))
    return x, y, across, down


def test_from_the_worklist_to_a_signed_answer_in_the_trail(screens: Screens, browse: Browse) -> None:
    page = browse(screens)
    canvas = open_first_study(page)
    keep(page, "review")
    ask(page, "Is there a nodule?")
    expect(page.get_by_text(re.compile("Audit row"))).to_be_visible()
    (answered,) = events(screens, "answer")
    image = answered.entity["image"]
    assert isinstance(image, dict)
    assert str(image["sop_instance_uid"]).endswith(".7")  # of twelve, the one in the middle

    canvas.focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    expect(canvas).to_have_attribute("data-image", "10")
    ask(page, "Where is the nodule?")
    expect(page.get_by_text(re.compile("Audit row"))).to_have_count(2)
    asked = events(screens, "answer")[-1].entity["image"]
    assert isinstance(asked, dict)
    assert str(asked["sop_instance_uid"]).endswith(".10")
    expect(canvas).to_have_attribute("data-image", "10")  # an answer does not move the reader

    amend(page, "upper right quadrant")
    expect(page.get_by_text("Corrected")).to_be_visible()
    expect(page.get_by_text(re.compile(r"\d+ images of this series were not looked at"))).to_be_visible()
    page.get_by_label("Type dr-17 to sign").fill("dr-17")
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.get_by_text(re.compile("dr-17 signed on"))).to_be_visible()
    keep(page, "signed")
    (signed,) = events(screens, "sign")
    assert signed.subject == events(screens, "answer")[-1].subject

    page.get_by_role("link", name="Reports").click()
    page.get_by_role("button", name="Make the report").click()
    with page.expect_download() as downloaded:
        page.get_by_role("button", name="Download the PDF").click()
    keep(page, "reports")
    pdf = downloaded.value.path()
    text = "\n".join(page.extract_text() for page in PdfReader(pdf).pages)
    assert "upper right quadrant" in text
    assert "Preliminary: not every answer is signed" in text  # the first one is not
    (reported,) = events(screens, "report")
    assert reported.entity["sha256"] == hashlib.sha256(pdf.read_bytes()).hexdigest()

    page.get_by_role("link", name="Audit").click()
    page.get_by_role("button", name="Verify the trail").click()
    expect(page.get_by_text(re.compile("^Intact: "))).to_be_visible()
    page.mouse.move(600, 700)  # off the button, whose tooltip hangs over the links
    page.get_by_label("Text in the event").fill("upper right quadrant")
    page.get_by_role("button", name="Search", exact=True).click()
    choose_row(page, 0)
    expect(page.get_by_text(f"events about {signed.subject}")).to_be_visible()
    expect(page.get_by_text(re.compile(f"^{signed.sequence}: sign by dr-17"))).to_be_visible()
    keep(page, "audit")
    assert {request.url.split("/")[2] for request in screens.requests} == {screens.url.split("/")[2]}


def test_moving_and_windowing_ask_the_server_nothing(screens: Screens, browse: Browse) -> None:
    page = browse(screens)
    canvas = open_first_study(page)
    expect(canvas).to_have_attribute("data-complete", "true")
    before = len(screens.requests)
    frames: list[str] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda _: frames.append("sent")))
    canvas.focus()
    for key in ("ArrowDown", "End", "Home", "]", ".", "i", "+", "0"):
        page.keyboard.press(key)
    expect(canvas).to_have_attribute("data-image", "1")
    expect(canvas).to_have_attribute("data-inverted", "true")
    box = canvas.bounding_box()
    assert box is not None
    window = canvas.get_attribute("data-window")
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 180, box["y"] + 140, steps=4)
    page.mouse.up()
    expect(canvas).not_to_have_attribute("data-window", window or "")
    assert len(screens.requests) == before
    assert frames == []


def test_the_image_lies_where_the_viewer_says_and_a_ruler_measures_it(
    screens: Screens, browse: Browse
) -> None:
    page = browse(screens)
    canvas = open_first_study(page)
    x, y, across, down = place(canvas)
    bright = np.argwhere(shades(canvas)[: int(y + 220 * down)].min(-1) > 230)
    bright = bright[(np.abs(bright - [y + SPOT[0] * down, x + SPOT[1] * across]) < 15 * down).all(-1)]
    row, column = ((bright.mean(0) + 0.5) - [y, x]) / [down, across]
    assert abs(row - 0.5 - SPOT[0]) < 0.5
    assert abs(column - 0.5 - SPOT[1]) < 0.5
    # A hundred columns of 0.9 mm, then six by six pixels in the middle of the spot.
    drag(page, canvas, "m", (60, 50), (60, 150))
    expect(canvas).to_have_attribute("aria-description", re.compile(r"^(89\.[5-9]|90\.[0-5]) mm$"))
    page.keyboard.press("Escape")
    drag(page, canvas, "r", (SPOT[0] - 3, SPOT[1] - 3), (SPOT[0] + 3, SPOT[1] + 3))
    expect(canvas).to_have_attribute("aria-description", re.compile(r"^mean 900\.0 ± 0\.0, (29|2[45]) mm²$"))


def drag(page: Page, canvas: Locator, key: str, start: tuple[int, int], end: tuple[int, int]) -> None:
    """Take a tool by its key, and drag it from one row and column of the image to another."""
    box = canvas.bounding_box()
    assert box is not None
    x, y, across, down = place(canvas)
    canvas.focus()
    page.keyboard.press(key)
    page.mouse.move(box["x"] + x + start[1] * across, box["y"] + y + start[0] * down)
    page.mouse.down()
    page.mouse.move(box["x"] + x + end[1] * across, box["y"] + y + end[0] * down, steps=3)
    page.mouse.up()


def test_the_heatmap_sits_on_the_pixels_it_was_computed_for(tmp_path: Path, browse: Browse) -> None:
    (tmp_path / "studies").mkdir()
    write_simulated_study(tmp_path / "studies" / "head", seed=7)
    with serving(tmp_path) as screens:
        require_aligned(screens, browse(screens))


def require_aligned(screens: Screens, page: Page) -> None:
    canvas = open_first_study(page)
    ask(page, "Where is the nodule?", heatmap="attention")
    expect(page.get_by_text(re.compile("Audit row"))).to_be_visible(timeout=60_000)
    expect(page.locator("input.overlay")).to_be_enabled()
    assert canvas.get_attribute("data-overlay") == "0"  # off until it is asked for
    bare = shades(canvas)
    source = next(one.url for one in reversed(screens.requests) if "/heatmaps/" in one.url)
    values = np.frombuffer(page.request.get(source).body(), np.uint8)[768:].reshape(240, 216).astype(float)
    canvas.focus()
    page.keyboard.press("o")
    expect(canvas).not_to_have_attribute("data-overlay", "0")
    changed = np.abs(shades(canvas) - bare).sum(-1)
    x, y, across, down = place(canvas)
    rows, columns = np.indices((240, 216)) + 0.5
    seen = changed[(y + rows * down).astype(int), (x + columns * across).astype(int)].astype(float)
    marked = values > 128
    assert seen[marked].mean() > 5 * max(seen[values < 8].mean(), 0.1)
    inside = (values * rows).sum() / values.sum(), (values * columns).sum() / values.sum()
    drawn = (seen * rows).sum() / seen.sum(), (seen * columns).sum() / seen.sum()
    assert np.allclose(inside, drawn, atol=6)


def test_another_browser_gets_no_pixels(screens: Screens, browse: Browse) -> None:
    page = browse(screens)
    open_first_study(page)
    source = next(one.url for one in screens.requests if "/stacks/" in one.url)
    assert page.request.get(source).status == 200
    stranger = browse(screens)
    assert stranger.request.get(source).status == 404
    assert stranger.request.get(source.replace("/stacks/", "/stacks/x")).status == 404
