"""A study's answers and what people made of them, as one document to read, print and send."""

from medvqa.reports.document import Document
from medvqa.reports.documenting import document_of
from medvqa.reports.heatmaps import remake_heatmaps
from medvqa.reports.issuing import FORMS, Form, Issued, form_of, issue, issue_all
from medvqa.reports.report import Report, Statement, compose
from medvqa.reports.templates import Template, read_template

__all__ = [
    "FORMS",
    "Document",
    "Form",
    "Issued",
    "Report",
    "Statement",
    "Template",
    "compose",
    "document_of",
    "form_of",
    "issue",
    "issue_all",
    "read_template",
    "remake_heatmaps",
]
