"""A report as one HTML file that needs no network, by the shipped template or a hospital's own."""

from __future__ import annotations

import traceback
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from jinja2 import UndefinedError
from jinja2.exceptions import SecurityError
from markupsafe import Markup

from medvqa.errors import TemplateError
from medvqa.reports.wording import (
    NOT_RELIED_ON,
    STRUCK_OUT,
    describe_checks,
    describe_people,
    describe_source,
    head,
    provenance,
)

if TYPE_CHECKING:
    from medvqa.reports.document import Asked, Document
    from medvqa.reports.templates import Template

_BEGINNING = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="default-src'
    " 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; form-action 'none'\">\n"
)
"""Comes first, so that nothing that a template holds runs or reaches the network. A browser opens the head
for it, and skips the tags by which the template opens it again."""

_UNWANTED = frozenset({"base", "embed", "form", "frame", "iframe", "link", "object", "script"})
"""What the policy does not stop in every browser, or stops without a word to whoever wrote it."""
_UNSEEN = frozenset({"title", "style", "template", "noscript", "textarea"})


def write_html(document: Document, template: Template) -> bytes:
    """The file, in UTF-8; all that was typed or read from files is escaped.

    Raises:
        TemplateError: If the template fails on this report, or leaves out what every report must say.
    """
    return (_BEGINNING + fill(template, document, quoting=False)).encode()


def fill(template: Template, document: Document, *, quoting: bool) -> str:
    """What a template makes of a report.

    Args:
        template: Shipped or a hospital's.
        document: The report.
        quoting: Whether an error may quote what was looked for, as it may where the report is made up.

    Raises:
        TemplateError: As `write_html`.
    """
    try:
        page = template.compiled.render(context_of(document))
    except Exception as error:  # a template is a program, and may fail in any way
        said = (
            f": {error}" if quoting and isinstance(error, UndefinedError | SecurityError) else ""
        ) or f" with {type(error).__name__}"
        raise TemplateError(
            f"the template {template.name} fails at line {_line_of(error, template.name)}{said};"
            " docs/reports.md lists what a template may use"
        ) from error
    reader = _Reader()
    reader.feed(page)
    reader.close()
    if reader.unwanted:
        raise TemplateError(
            f"the template {template.name} has {reader.unwanted[0]}, by which a report could reach the"
            " network; take it out, and put styles and pictures into the file"
        )
    text = " ".join("".join(reader.seen).split())
    for name, mark in required(document):
        if mark not in text:
            raise TemplateError(
                f"the template {template.name} leaves out {name}, which every report must show;"
                " docs/reports.md lists what that is"
            )
    return page


def required(document: Document) -> list[tuple[str, str]]:
    """What every report must show, whatever its template: what it is called, and the text that says it."""
    return [
        ("the notice (notice)", document.notice),
        ("the status (status_text)", document.status_text),
        ("the root of the audit trail (tree.root)", document.tree.root),
        *(
            ("the digest of a model's weights (weights_sha256)", one.weights_sha256)
            for one in document.models
        ),
        *(
            ("the digest of a model's adapter (adapter_sha256)", one.adapter_sha256)
            for one in document.models
            if one.adapter_sha256 is not None
        ),
        *(("the audit id of an answer (answer_id)", asked.answer_id) for asked in document.asked),
    ]


def context_of(document: Document) -> dict[str, Any]:
    """What a template may use; docs/reports.md lists it."""
    plain = document.model_dump(mode="json")
    names = ("notice", "status", "status_text", "issued", "patient", "study", "models", "tree")
    return {
        **{name: plain[name] for name in names},
        "head": head(document),
        "provenance": provenance(document),
        "not_relied_on": NOT_RELIED_ON,
        "struck_out": STRUCK_OUT,
        "statements": [_statement(document, asked) for asked in document.asked],
    }


def _statement(document: Document, asked: Asked) -> dict[str, Any]:
    held = next((one for one in document.answers if one.answer_id == asked.answer_id), None)
    struck = next((one for one in document.struck_out if one.answer_id == asked.answer_id), None)
    model = next(one for one in document.models if one.digest == asked.model)
    return {
        **asked.model_dump(mode="json"),
        "text": None if held is None else held.text,
        "given_by": None if held is None else held.given_by,
        # Struck out wherever a template puts it.
        "struck": None if struck is None else Markup("<del>{}</del>").format(struck.struck_words),
        "reason": None if struck is None else struck.reason,
        "checks_lines": describe_checks(asked),
        "people_lines": describe_people(asked),
        "source": describe_source(asked, model),
    }


def _line_of(error: Exception, name: str) -> int:
    """The template's line; Jinja gives each of its frames the template's name and line."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno or 1 for frame in reversed(frames) if frame.filename == name), 1)


class _Reader(HTMLParser):
    """Collects what a reader of the page sees, not comments, titles or styles; and what may not be in it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.unwanted: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNWANTED or (tag == "meta" and any(name == "http-equiv" for name, _ in attrs)):
            self.unwanted.append(f"<{tag}>" if tag != "meta" else "<meta http-equiv>")
        if tag in _UNSEEN:
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            self._inside.remove(tag)

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.seen.append(data)
