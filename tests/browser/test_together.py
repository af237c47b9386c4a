"""Two people at once, and a server that is killed."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import expect

import audit
from browser.conftest import Screens, serving
from browser.steps import Browse, amend, ask, events, keep, open_first_study

PEOPLE = {"ada": "senior", "bob": "reader"}


@pytest.mark.usefixtures("phantom")
def test_two_people_at_once_do_not_get_into_each_others_way(browse: Browse, tmp_path: Path) -> None:
    lines = "".join(f'"{name}" = "{role}"\n' for name, role in PEOPLE.items())
    (tmp_path / "medvqa.toml").write_text(f"[people]\n{lines}")
    with serving(tmp_path, MEDVQA_PROXY_HEADER="X-Forwarded-User") as screens:
        pages = {name: browse(screens, headers={"X-Forwarded-User": name}) for name in PEOPLE}
        for name, page in pages.items():
            expect(page.get_by_text(f"{name}, {PEOPLE[name]}")).to_be_visible()
            open_first_study(page)
        ask(pages["ada"], "Is there a nodule?")
        ask(pages["bob"], "Which organ is this?")
        for page in pages.values():
            expect(page.get_by_text(re.compile("Audit row")).first).to_be_visible()
        asked = {event.agent: event.entity["question"] for event in events(screens, "answer")}
        assert asked == {"ada": "Is there a nodule?", "bob": "Which organ is this?"}
        amend(pages["bob"], "bob was here")
        amend(pages["ada"], "ada was here")
        reviews = events(screens, "review")
        assert {(event.agent, event.entity["text"]) for event in reviews} == {
            ("bob", "bob was here"),
            ("ada", "ada was here"),
        }
        expect(pages["bob"].get_by_role("button", name="Sign", exact=True)).to_have_count(0)
        keep(pages["bob"], "reader")
        with audit.Log(f"sqlite:///{screens.trail}", create=False) as log:
            assert log.verify().intact


@pytest.mark.usefixtures("phantom")
def test_a_killed_server_loses_nothing_that_was_acknowledged(browse: Browse, tmp_path: Path) -> None:
    with serving(tmp_path) as screens:
        page = browse(screens)
        open_first_study(page)
        ask(page, "Is there a nodule?")
        expect(page.get_by_text(re.compile("Audit row"))).to_be_visible()
        amend(page, "acknowledged before the end")
        ask(page, "Where is the nodule?", heatmap="occlusion")
        while len(events(screens, "ask")) < 2:
            page.wait_for_timeout(20)
        kill(screens)  # amid the answer, or right after it
    with serving(tmp_path) as screens:
        page = browse(screens)
        open_first_study(page)
        expect(page.get_by_text(re.compile("amend: acknowledged before the end"))).to_be_visible()
        expect(page.get_by_text(re.compile("Audit row"))).to_have_count(len(events(screens, "answer")))
        asked = [event.entity["question"] for event in events(screens, "ask")]
        assert asked == ["Is there a nodule?", "Where is the nodule?"]
        assert len(events(screens, "review")) == 1
        with audit.Log(f"sqlite:///{screens.trail}", create=False) as log:
            assert log.verify().intact


def kill(screens: Screens) -> None:
    screens.server.send_signal(signal.SIGKILL)
    screens.server.wait()
