"""How the pages look: contrast by axe-core, and whether all fits the displays they are read on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from dicom_builder import image, write
from playwright.sync_api import Page, expect
from tiny_contrastive import write_contrastive

import audit
from browser.conftest import Screens, serving
from browser.steps import Browse, amend, ask, choose_row, keep, open_first_study
from medvqa import read_study
from medvqa.models.contrastive import load_contrastive
from medvqa.records import Agent
from medvqa.retrieval.index import CaseIndex
from medvqa.retrieval.similar import SIMILARITY, index_study
from medvqa.sessions import begin_session

AA = {"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]}
DISPLAYS = {
    "laptop": (1366, 768, 1.0),
    "125 percent": (1093, 614, 1.25),  # of the laptop
    "portrait 4K": (2160, 3840, 1.0),
}
PAGES = ("Worklist", "Review", "Reports", "Practice", "Audit", "Quality", "Models")


@pytest.fixture
def asked(phantom: Path, tmp_path: Path, browse: Browse) -> None:
    """A trail with an answer that was amended, so that each page has something to show."""
    assert phantom.is_dir()
    write(tmp_path / "case.dcm", image())
    line = '{"image": "case.dcm", "question": "Is there a mass?", "answer": "no"}'
    (tmp_path / "cases.jsonl").write_text(line)
    with serving(tmp_path) as screens:
        page = browse(screens)
        open_first_study(page)
        ask(page, "Is there a nodule?")
        expect(page.get_by_text(re.compile("Audit row"))).to_be_visible()
        amend(page, "upper right quadrant")


def visit(page: Page, name: str) -> None:
    """Go to a page, and have it show what it can."""
    if name != "Worklist":
        page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    if name == "Audit":
        page.get_by_role("button", name="Search", exact=True).click()
        choose_row(page, 0)
        expect(page.get_by_text(re.compile("events about"))).to_be_visible()
    elif name == "Reports":
        page.get_by_role("button", name="Make the report").click()
        expect(page.get_by_role("button", name="Download the PDF")).to_be_visible()
    elif name in ("Review", "Practice"):
        page.locator("canvas[data-ready=true]").wait_for()
    page.mouse.move(5, 300)  # off whatever has a tooltip
    page.wait_for_timeout(700)


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("display", DISPLAYS)
def test_each_page_fits_and_has_contrast(tmp_path: Path, browse: Browse, display: str) -> None:
    width, height, scale = DISPLAYS[display]
    problems: list[str] = []
    with serving(tmp_path, MEDVQA_PRACTICE=str(tmp_path / "cases.jsonl")) as screens:
        page = browse(screens, width=width, height=height, scale=scale)
        open_first_study(page)
        page.get_by_role("link", name="Worklist").click()
        for name in PAGES:
            visit(page, name)
            keep(page, f"{name.lower()} on {display}")
            problems += [f"{name}: {one}" for one in (*overflows(page), *faults(page))]
    assert not problems


def overflows(page: Page) -> list[str]:
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return [f"{wide} pixels wider than the display"] if wide > 0 else []


def faults(page: Page) -> list[str]:
    found = Axe().run(page, options=AA).response["violations"]
    return [f"{one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"]]


def test_a_page_without_a_study_teaches_what_to_do(screens: Screens, browse: Browse) -> None:
    page = browse(screens)
    for name in ("Review", "Reports", "Practice", "Audit", "Quality"):
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
        expect(page.get_by_test_id("stAlert").first).to_be_visible()
        keep(page, f"{name.lower()}, empty")


def test_similar_cases_fit_and_have_contrast(phantom: Path, tmp_path: Path, browse: Browse) -> None:
    model = load_contrastive(write_contrastive(tmp_path / "clip"))
    earlier = image(PatientID="earlier")
    earlier.StudyInstanceUID = "1.2.3.9"
    earlier.SOPInstanceUID = earlier.file_meta.MediaStorageSOPInstanceUID = "1.2.3.9.1"
    write(tmp_path / "earlier.dcm", earlier)
    with audit.Log(f"sqlite:///{tmp_path / 'trail.sqlite'}") as log:
        session = begin_session(log, Agent(name="dr-17"), key_folder=tmp_path / "keys")
        index = CaseIndex(tmp_path / "cases", model.identity, create=True)
        index_study(session, index, model, read_study(tmp_path / "earlier.dcm"))
    assert phantom.is_dir()
    with serving(tmp_path, MEDVQA_SIMILAR_INDEX="cases", MEDVQA_SIMILAR_MODEL="clip") as screens:
        page = browse(screens)
        open_first_study(page)
        page.get_by_text("Similar earlier cases").click()
        page.get_by_role("button", name="Find", exact=True).click()
        expect(page.get_by_text("Nothing about it was signed.")).to_be_visible()
        page.get_by_text(SIMILARITY).scroll_into_view_if_needed()
        page.mouse.move(5, 300)
        page.wait_for_timeout(700)
        keep(page, "similar cases")
        assert not [*overflows(page), *faults(page)]
