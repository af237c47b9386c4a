"""Templates of reports: the shipped one, and a hospital's own, which is a file from elsewhere.

A template is one Jinja2 file. It reaches the report's plain data and nothing else: no other file, no Python
object behind the data, and no way to put text on the page without escaping it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from jinja2 import StrictUndefined, TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from medvqa.errors import TemplateError
from medvqa.reports.html import context_of, fill
from medvqa.reports.samples import SAMPLES

if TYPE_CHECKING:
    from jinja2 import Environment

LARGEST = 4 * 2**20
"""Bytes of a template: room for a letterhead's pictures."""

_FORBIDDEN: dict[type[nodes.Node], str] = {
    nodes.Include: "includes another file, but a template is one file",
    nodes.Import: "imports another file, but a template is one file",
    nodes.FromImport: "imports another file, but a template is one file",
    nodes.Extends: "extends another file, but a template is one file",
    nodes.ScopedEvalContextModifier: "changes the escaping, which is always on",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template that was read, and tried where it is not the shipped one."""

    name: str
    """Its path, or how the shipped one is called."""
    sha256: str
    """Of the file; the trail records it with each report."""
    compiled: jinja2.Template


@cache
def shipped_template() -> Template:
    """The one that comes with medvqa."""
    source = files("medvqa").joinpath("templates", "report.html").read_bytes()
    return _compile(source, "report.html of medvqa")


def read_template(path: str | Path) -> Template:
    """Read a hospital's template, and try it on made-up reports of every status.

    What it asks for in branches that no made-up report enters is found out only when a report is written.

    Raises:
        TemplateError: If the file cannot be read, is no template, asks for what no report has, reaches for
            what it may not, or leaves out what every report must show.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            source = file.read(LARGEST + 1)
    except OSError as error:
        raise TemplateError(
            f"the template {path} cannot be read: {error.strerror}; correct --template or report_template"
        ) from error
    if len(source) > LARGEST:
        raise TemplateError(f"the template {path} is larger than {LARGEST // 2**20} MiB; make it smaller")
    template = _compile(source, str(path))
    for sample in SAMPLES:
        fill(template, sample, quoting=True)
    return template


def _compile(source: bytes, name: str) -> Template:
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = source[: error.start].count(b"\n") + 1
        raise TemplateError(f"the template {name} is not UTF-8 at line {line}; save it as UTF-8") from error
    environment = _environment()
    try:
        tree = environment.parse(text, filename=name)
        _require_known(tree, name, environment)
        code = environment.compile(tree, filename=name)
    except TemplateSyntaxError as error:
        raise TemplateError(
            f"the template {name} is wrong at line {error.lineno}: {error.message}; correct it"
        ) from error
    compiled = jinja2.Template.from_code(environment, code, dict(environment.globals))
    return Template(name=name, sha256=hashlib.sha256(source).hexdigest(), compiled=compiled)


def _environment() -> Environment:
    environment = ImmutableSandboxedEnvironment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=_blank
    )
    for name in ("safe", "striptags"):  # the one ends escaping, the other striking out
        del environment.filters[name]
    del environment.globals["lipsum"]
    return environment


def _blank(value: object) -> object:
    """Nothing in place of the word None, which would read as an answer."""
    return "" if value is None else value


def _require_known(tree: nodes.Template, name: str, environment: Environment) -> None:
    for kind, said in _FORBIDDEN.items():
        for node in tree.find_all(kind):
            raise TemplateError(f"the template {name} at line {node.lineno} {said}; take that out")
    known = {*context_of(SAMPLES[0]), *environment.globals}
    unknown = meta.find_undeclared_variables(tree) - known
    for used in tree.find_all(nodes.Name):
        if used.name in unknown:
            raise TemplateError(
                f"the template {name} at line {used.lineno} asks for {used.name!r}, which no report has;"
                " docs/reports.md lists what a template may use"
            )
