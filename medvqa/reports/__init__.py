"""A study's answers and what people made of them, as one document to read, print and send."""

from medvqa.reports.issuing import FORMS, Form, Issued, issue
from medvqa.reports.report import Report, Statement, compose

__all__ = ["FORMS", "Form", "Issued", "Report", "Statement", "compose", "issue"]
