"""A report by a hospital's template, in a browser: nothing in it runs, and nothing leaves."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Playwright

from browser.conftest import CHROMIUM
from medvqa.reports import read_template
from medvqa.reports.html import write_html
from medvqa.reports.samples import SAMPLES

TEMPLATE = """<html lang="de"><head><title>still</title><style>h1 { color: rgb(1, 2, 3); }
p { background: url(URL/style.png); }</style></head><body onload="document.title = 'ran'">
<h1>Clinic</h1><img src="URL/picture.png" onerror="document.title = 'ran'">
<svg onload="document.title = 'ran'"></svg><p>{{ notice }} {{ status_text }}. {{ tree.root }}</p>
{% for model in models %}<p>{{ model.weights_sha256 }} {{ model.adapter_sha256 }}</p>{% endfor %}
{% for one in statements %}<i>{{ one.answer_id }}</i>{% for picture in one.pictures %}
<img class="own" src="data:image/png;base64,{{ picture.data }}">{% endfor %}{% endfor %}"""


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """URL of a server, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_nothing_in_a_template_runs_or_leaves(
    playwright: Playwright, tmp_path: Path, elsewhere: tuple[str, list[str]]
) -> None:
    url, asked = elsewhere
    own, out = tmp_path / "own.html", tmp_path / "report.html"
    own.write_text(TEMPLATE.replace("URL", url), encoding="utf-8")
    out.write_bytes(write_html(SAMPLES[0], read_template(own)))
    browser = playwright.chromium.launch(
        executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    )
    try:
        page = browser.new_page()
        page.goto(out.as_uri())
        page.wait_for_timeout(500)
        assert (page.title(), asked) == ("still", [])
        colour = page.evaluate("getComputedStyle(document.querySelector('h1')).color")
        shown = page.evaluate("document.querySelector('img.own').naturalWidth")
        language = page.evaluate("document.compatMode + document.documentElement.lang")
        assert (colour, shown, language) == ("rgb(1, 2, 3)", 1, "CSS1Compatde")
    finally:
        browser.close()
