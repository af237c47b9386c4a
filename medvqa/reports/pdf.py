"""A report as a PDF file, A4, by ReportLab."""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import matplotlib as mpl
from PIL import Image as PillowImage
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import (
    HRFlowable,
    Image,
    KeepTogether,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)

from medvqa.reports.pictures import draw_pictures
from medvqa.reports.wording import (
    NOT_RELIED_ON,
    STATUS,
    describe_answer,
    describe_people,
    describe_source,
    head,
)
from medvqa.types import NOT_FOR_DIAGNOSIS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reportlab.pdfgen.canvas import Canvas
    from reportlab.platypus import Flowable

    from medvqa.reports.report import Report, Statement

_LATIN, _HAN = "DejaVu Sans", "STSong-Light"
"""The first has most alphabets and is embedded; the second is every PDF reader's own, for Chinese."""
_MARGIN = 18 * mm
_PICTURE = 80 * mm
_STATUS_COLOURS = {"preliminary": "#8a4b00", "final": "#0d6632", "amended": "#1d5688"}
_GREY = HexColor("#4b525a")

_BODY = ParagraphStyle("body", fontName=_LATIN, fontSize=9.5, leading=13)
_SMALL = ParagraphStyle("small", _BODY, fontSize=7.5, leading=10, textColor=_GREY)
_HEADING = ParagraphStyle("heading", _BODY, fontSize=15, leading=20)
_QUESTION = ParagraphStyle("question", _BODY, fontSize=10.5, leading=14, spaceBefore=4)
_HELD = ParagraphStyle("held", _BODY, fontSize=13, leading=18)


def write_pdf(report: Report) -> bytes:
    """The file; the same report gives the same bytes."""
    _register_fonts()
    out = io.BytesIO()
    document = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=_MARGIN,
        bottomMargin=_MARGIN,
        title="medvqa report",
        author="medvqa",
        lang="en",
        invariant=1,
    )

    def draw_foot(canvas: Canvas, _: object) -> None:
        canvas.setFont(_LATIN, 7.5)
        canvas.setFillColor(_GREY)
        canvas.drawString(_MARGIN, 10 * mm, f"{NOT_FOR_DIAGNOSIS} {STATUS[report.status]}.")
        canvas.drawRightString(A4[0] - _MARGIN, 10 * mm, f"Page {canvas.getPageNumber()}")

    document.build([*_draw_head(report), *_draw_statements(report)], draw_foot, draw_foot)
    return out.getvalue()


def _draw_head(report: Report) -> Iterator[Flowable]:
    colour = _STATUS_COLOURS[report.status]
    yield Paragraph("Report of questions about one study", _HEADING)
    yield Paragraph(f'<font color="{colour}"><b>{STATUS[report.status]}</b></font>', _BODY)
    yield Paragraph(f'<font color="#8a1f11">{NOT_FOR_DIAGNOSIS}</font>', _BODY)
    yield Spacer(0, 3 * mm)
    yield _tabulate(head(report))


def _draw_statements(report: Report) -> Iterator[Flowable]:
    for statement in report.statements:
        yield Spacer(0, 4 * mm)
        rule = HRFlowable(width="100%", color=HexColor("#b9c0c8"), thickness=0.6)
        yield KeepTogether([rule, *_draw_words(statement), *_draw_pictures(statement)])
        yield _tabulate([*describe_answer(statement), *describe_people(statement)])
        yield _write(describe_source(statement), _SMALL)


def _draw_words(statement: Statement) -> Iterator[Flowable]:
    yield _write(str(statement.entity["question"]), _QUESTION)
    if statement.held is not None:
        yield _write(statement.held, _HELD)
    if statement.struck is not None:
        before = "" if statement.held is not None else f"{NOT_RELIED_ON}. "
        struck, reason = _mark_up(statement.struck), _mark_up(str(statement.reason))
        yield Paragraph(f"{before}The model said <strike>{struck}</strike>: {reason}", _BODY)


def _draw_pictures(statement: Statement) -> Iterator[Flowable]:
    drawn = [[_fit(content), _write(caption, _SMALL)] for caption, content in draw_pictures(statement)]
    if drawn:
        yield Spacer(0, 2 * mm)
        yield Table([drawn], colWidths=[_PICTURE + 6 * mm] * len(drawn), hAlign="LEFT", style=_plain())


def _fit(content: bytes) -> Image:
    width, height = PillowImage.open(io.BytesIO(content)).size
    scale = _PICTURE / max(width, height)
    return Image(io.BytesIO(content), width=width * scale, height=height * scale, hAlign="LEFT")


def _tabulate(lines: Iterable[tuple[str, str]]) -> Table:
    rows: list[list[Any]] = [[_write(name, _SMALL), _write(value, _BODY)] for name, value in lines]
    return Table(rows, colWidths=[36 * mm, None], hAlign="LEFT", style=_plain())


def _plain() -> TableStyle:
    return TableStyle(
        [("VALIGN", (0, 0), (-1, -1), "TOP"), *((f"{edge}PADDING", (0, 0), (-1, -1), 1) for edge in _EDGES)]
    )


_EDGES = ("LEFT", "RIGHT", "TOP", "BOTTOM")


def _write(text: str, style: ParagraphStyle) -> Paragraph:
    return Paragraph(_mark_up(text), style)


def _mark_up(text: str) -> str:
    """Text as ReportLab's markup: nothing in it is markup, and each sign is in a font that may have it."""
    font: Any = pdfmetrics.getFont(_LATIN)
    known = font.face.charToGlyph
    parts: list[tuple[bool, str]] = []
    for sign in text:
        latin = ord(sign) in known or sign.isspace()
        if parts and parts[-1][0] == latin:
            parts[-1] = latin, parts[-1][1] + sign
        else:
            parts.append((latin, sign))
    marked = (
        escape(part).replace("\n", "<br/>") if latin else f'<font name="{_HAN}">{escape(part)}</font>'
        for latin, part in parts
    )
    return "".join(marked)


@cache
def _register_fonts() -> None:
    folder = f"{mpl.get_data_path()}/fonts/ttf"
    pdfmetrics.registerFont(TTFont(_LATIN, f"{folder}/DejaVuSans.ttf"))
    pdfmetrics.registerFont(TTFont(f"{_LATIN} Bold", f"{folder}/DejaVuSans-Bold.ttf"))
    pdfmetrics.registerFontFamily(
        _LATIN, normal=_LATIN, bold=f"{_LATIN} Bold", italic=_LATIN, boldItalic=f"{_LATIN} Bold"
    )
    pdfmetrics.registerFont(UnicodeCIDFont(_HAN))
