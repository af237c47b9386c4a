"""A report as a PDF file, A4, by ReportLab."""

from __future__ import annotations

import base64
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

from medvqa.reports.wording import (
    NOT_RELIED_ON,
    STRUCK_OUT,
    describe_checks,
    describe_people,
    describe_source,
    head,
    provenance,
)
from medvqa.types import NOT_FOR_DIAGNOSIS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reportlab.pdfgen.canvas import Canvas
    from reportlab.platypus import Flowable

    from medvqa.reports.document import Asked, Document

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


def write_pdf(document: Document) -> bytes:
    """The file; the same document gives the same bytes."""
    _register_fonts()
    out = io.BytesIO()
    pages = SimpleDocTemplate(
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
        canvas.drawString(_MARGIN, 10 * mm, f"{NOT_FOR_DIAGNOSIS} {document.status_text}.")
        canvas.drawRightString(A4[0] - _MARGIN, 10 * mm, f"Page {canvas.getPageNumber()}")

    story = [*_draw_head(document), *_draw_statements(document), *_draw_provenance(document)]
    pages.build(story, draw_foot, draw_foot)
    return out.getvalue()


def _draw_head(document: Document) -> Iterator[Flowable]:
    colour = _STATUS_COLOURS[document.status]
    yield Paragraph("Report of questions about one study", _HEADING)
    yield Paragraph(f'<font color="{colour}"><b>{document.status_text}</b></font>', _BODY)
    yield Paragraph(f'<font color="#8a1f11">{NOT_FOR_DIAGNOSIS}</font>', _BODY)
    yield Spacer(0, 3 * mm)
    yield _tabulate(head(document), _BODY)


def _draw_statements(document: Document) -> Iterator[Flowable]:
    models = {model.digest: model for model in document.models}
    for asked in document.asked:
        yield Spacer(0, 4 * mm)
        yield KeepTogether([_rule(), *_draw_words(document, asked), *_draw_pictures(asked)])
        yield _tabulate([*describe_checks(asked), *describe_people(asked)], _BODY)
        yield _write(describe_source(asked, models[asked.model]), _SMALL)


def _draw_words(document: Document, asked: Asked) -> Iterator[Flowable]:
    held = [one.text for one in document.answers if one.answer_id == asked.answer_id]
    yield _write(asked.question, _QUESTION)
    for text in held:
        yield _write(text, _HELD)
    for one in document.struck_out:
        if one.answer_id == asked.answer_id:
            before = STRUCK_OUT if held else f"{NOT_RELIED_ON} {STRUCK_OUT}"
            struck, reason = _mark_up(one.struck_words), _mark_up(one.reason)
            yield Paragraph(f"{before} <strike>{struck}</strike> ({reason})", _BODY)


def _draw_pictures(asked: Asked) -> Iterator[Flowable]:
    drawn = [[_fit(base64.b64decode(one.data)), _write(one.caption, _SMALL)] for one in asked.pictures]
    if drawn:
        yield Spacer(0, 2 * mm)
        yield Table([drawn], colWidths=[_PICTURE + 6 * mm] * len(drawn), hAlign="LEFT", style=_plain())


def _draw_provenance(document: Document) -> Iterator[Flowable]:
    yield Spacer(0, 6 * mm)
    yield KeepTogether([_rule(), _tabulate(provenance(document), _SMALL)])


def _rule() -> HRFlowable:
    return HRFlowable(width="100%", color=HexColor("#b9c0c8"), thickness=0.6)


def _fit(content: bytes) -> Image:
    width, height = PillowImage.open(io.BytesIO(content)).size
    scale = _PICTURE / max(width, height)
    return Image(io.BytesIO(content), width=width * scale, height=height * scale, hAlign="LEFT")


def _tabulate(lines: Iterable[tuple[str, str]], style: ParagraphStyle) -> Table:
    rows: list[list[Any]] = [[_write(name, _SMALL), _write(value, style)] for name, value in lines]
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
