"""What a person does at the screens, as the browser tests do it."""

from __future__ import annotations

import re
from typing import Protocol

from playwright.sync_api import Locator, Page, expect

import audit
from browser.conftest import SCREENSHOTS, Screens


class Browse(Protocol):
    """Opens the screens in a browser of its own."""

    def __call__(
        self,
        screens: Screens,
        *,
        width: int = 1366,
        height: int = 768,
        scale: float = 1,
        headers: dict[str, str] | None = None,
    ) -> Page: ...


def settle(page: Page) -> None:
    """Until the page's script has run, and its table or form is what it will be."""
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()


def choose_row(page: Page, row: int, *, table: int = 0) -> None:
    """Choose a row of a table, which is drawn on a canvas."""
    drawn = page.get_by_test_id("stDataFrame").nth(table)
    drawn.wait_for()
    settle(page)
    page.wait_for_timeout(1000)  # a table draws itself when it likes
    box = drawn.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 24, box["y"] + 54 + 35 * row)


def open_first_study(page: Page) -> Locator:
    """Choose the first row of the worklist; the canvas of the viewer, once an image is on it."""
    choose_row(page, 0)
    canvas = page.locator("canvas[data-ready=true]")
    canvas.wait_for()
    return canvas


def ask(page: Page, question: str, *, heatmap: str = "none") -> None:
    settle(page)
    if heatmap != "none":
        methods = page.get_by_role("combobox", name=re.compile("Heatmap"))
        methods.fill(heatmap)  # the list draws only what is in sight
        methods.press("Enter")
        settle(page)
    page.get_by_label("Question", exact=True).fill(question)
    page.get_by_role("button", name="Ask", exact=True).click()


def amend(page: Page, text: str) -> None:
    """Amend the newest answer by the keys of the verdicts."""
    expect(page.get_by_role("button", name=re.compile("^Amend")).first).to_be_visible()
    settle(page)
    page.keyboard.press("Alt+2")
    page.get_by_label("The right answer").first.fill(text)
    page.get_by_role("button", name="Record: amend").click()
    expect(page.get_by_text(re.compile(re.escape(f"amend: {text}")))).to_be_visible()


def events(screens: Screens, action: str) -> list[audit.Event]:
    with audit.Log(f"sqlite:///{screens.trail}", create=False) as log:
        return list(log.read(audit.Filter(action=action)))


def keep(page: Page, name: str) -> None:
    """Keep a picture of the page."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
