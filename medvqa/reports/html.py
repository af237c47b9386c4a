"""A report as one HTML file that needs no network."""

from __future__ import annotations

import base64
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined

from medvqa.reports.pictures import draw_pictures
from medvqa.reports.wording import STATUS, describe_answer, describe_people, describe_source, head
from medvqa.types import NOT_FOR_DIAGNOSIS

if TYPE_CHECKING:
    from medvqa.reports.report import Report, Statement


def write_html(report: Report) -> bytes:
    """The file, in UTF-8; all that was typed or read from files is escaped."""
    source = files("medvqa").joinpath("templates", "report.html").read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(source)
    page = template.render(
        report=report,
        status=STATUS[report.status],
        head=head(report),
        notice=NOT_FOR_DIAGNOSIS,
        pictures=_embed,
        describe_answer=describe_answer,
        describe_people=describe_people,
        describe_source=describe_source,
    )
    return page.encode()


def _embed(statement: Statement) -> list[tuple[str, str]]:
    return [
        (caption, f"data:image/png;base64,{base64.b64encode(content).decode()}")
        for caption, content in draw_pictures(statement)
    ]
