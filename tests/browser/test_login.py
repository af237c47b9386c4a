"""Logging in by a real OpenID Connect provider, and what a role sees of the screens."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

import audit
from browser.conftest import Screens, free_port, serving, wait_for
from browser.steps import Browse


@pytest.fixture
def provider() -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/.well-known/openid-configuration")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@pytest.fixture
def screens(tmp_path: Path, provider: str) -> Iterator[Screens]:
    port = free_port()
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "secrets.toml").write_text(
        f"""[auth]
redirect_uri = "http://127.0.0.1:{port}/oauth2callback"
cookie_secret = "a secret of this test alone"
client_id = "medvqa"
client_secret = "of no use elsewhere"
server_metadata_url = "{provider}/.well-known/openid-configuration"
"""
    )
    (tmp_path / "medvqa.toml").write_text(
        '[people]\n"ada@example.org" = "senior"\n"eve@example.org" = "auditor"\n'
    )
    (tmp_path / "studies").mkdir()
    with serving(tmp_path, port=port) as running:
        yield running


def log_in(page: Page, name: str) -> None:
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("textbox").first.fill(name)
    page.get_by_role("button", name="Authorize").click()


def logins(screens: Screens, action: str = "login") -> list[tuple[str, str | None]]:
    with audit.Log(f"sqlite:///{screens.trail}", create=False) as log:
        return [(event.agent, event.role) for event in log.read(audit.Filter(action=action))]


def test_whoever_logs_in_has_a_name_a_role_and_its_pages(screens: Screens, browse: Browse) -> None:
    page = browse(screens)
    expect(page.get_by_text("Log in to go on.")).to_be_visible()
    assert not screens.trail.exists()
    log_in(page, "ada@example.org")
    expect(page.get_by_text("ada@example.org, senior")).to_be_visible()
    expect(page.get_by_role("link", name="Review")).to_be_visible()
    expect(page.get_by_role("link", name="Audit")).to_have_count(0)
    page.goto(f"{screens.url}/audit")
    expect(page.get_by_role("button", name="Verify the trail")).to_have_count(0)
    assert set(logins(screens)) == {("ada@example.org", "senior")}
    page.goto(screens.url)
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("button", name="End session").click()  # at the provider
    expect(page.get_by_text("Log in to go on.")).to_be_visible()
    assert set(logins(screens, "logout")) == {("ada@example.org", "senior")}

    other = browse(screens)
    log_in(other, "eve@example.org")
    expect(other.get_by_text("eve@example.org, auditor")).to_be_visible()
    expect(other.get_by_role("link", name="Audit")).to_be_visible()
    expect(other.get_by_role("link", name="Review")).to_have_count(0)

    stranger = browse(screens)
    log_in(stranger, "mallory@example.org")
    expect(stranger.get_by_text("yours is none")).to_be_visible()
