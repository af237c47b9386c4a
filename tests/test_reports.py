"""Reports: what holds, what is struck out, and the files that say so."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import run_medvqa
from pypdf import PdfReader
from reported import answer, write_study

from audit import Filter, Log
from medvqa.errors import ReviewError
from medvqa.reading.reviews import review
from medvqa.reading.signatures import add_addendum, sign
from medvqa.records import Agent
from medvqa.reports import FORMS, Form, Report, compose, issue
from medvqa.sessions import Session, begin_session
from medvqa.types import Study, Verdict


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return write_study(tmp_path / "study")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Log(f"sqlite:///{tmp_path / 'trail.sqlite'}") as log:
        yield begin_session(log, Agent(name="dr-17"), key_folder=tmp_path / "keys")


def text_of(content: bytes, form: str) -> str:
    if form == "html":
        return content.decode()
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages)


def test_a_report_is_preliminary_then_final_then_amended(session: Session, study: Study) -> None:
    with pytest.raises(ReviewError, match="ask first"):
        compose(session, study)
    answer_id = answer(session, study, "yes")
    assert compose(session, study).status == "preliminary"
    review(session, answer_id, verdict="agree")
    sign(session, answer_id, meaning="reviewed and approved")
    assert compose(session, study).status == "final"
    add_addendum(session, answer_id, text="seen on the lateral view too")
    assert compose(session, study).status == "amended"
    other = answer(session, study, "no")
    assert compose(session, study).status == "preliminary"
    assert [one.story.answer_id for one in compose(session, study).statements] == [answer_id, other]


@pytest.mark.parametrize(
    ("checked", "abstains", "judged", "held", "reason"),
    [
        ("grounded", False, None, "yes", None),
        ("grounded", True, None, None, "guess"),
        ("unsure", False, None, None, "unsure"),
        ("fragile", False, None, None, "fragile"),
        ("image_blind", False, None, None, "image blind"),
        ("unsure", True, "agree", "yes", None),
        ("image_blind", False, "agree", None, "image blind"),
        ("image_blind", False, "amend", "no mass", "amended by dr-17"),
        ("grounded", False, "amend", "no mass", "amended by dr-17"),
        ("grounded", False, "reject", None, "rejected by dr-17"),
    ],
)
def test_what_is_doubtful_amended_or_rejected_is_struck_out(
    session: Session,
    study: Study,
    checked: Verdict,
    abstains: bool,
    judged: str | None,
    held: str | None,
    reason: str | None,
) -> None:
    answer_id = answer(session, study, "yes", verdict=checked, abstains=abstains)
    if judged is not None:
        review(session, answer_id, verdict=judged, text="no mass")  # pyright: ignore[reportArgumentType]
    (statement,) = compose(session, study).statements
    assert statement.held == held
    assert statement.struck == (None if reason is None else "yes")
    assert reason is None or reason in str(statement.reason)


def test_each_statement_shows_the_image_that_was_asked_about(session: Session, study: Study) -> None:
    answer(session, study, "yes", place=2)
    answer(session, study, "no", place=0)
    assert [one.image_number for one in compose(session, study).statements] == [3, 1]
    elsewhere = replace(study, images=study.images[:1], frames=study.frames[:1])
    first, second = compose(session, elsewhere).statements
    assert (first.image, second.image_number) == (None, 1)


@pytest.mark.parametrize("form", ["html", "pdf"])
def test_a_file_says_all_of_it_and_is_recorded_before_it_leaves(
    session: Session, study: Study, form: Form
) -> None:
    answer_id = answer(session, study, "肺炎 <b>", question="Is <script>alert(1)</script> & there?")
    review(session, answer_id, verdict="amend", text="no <img src=x onerror=alert(2)>\nat all")
    sign(session, answer_id, meaning="reviewed and approved")
    report = compose(session, study)
    issued = issue(session, report, form)
    said = text_of(issued.content, form)
    for words in ("not for diagnostic use", "Final", "reviewed and approved", "dr-17"):
        assert words in said
    assert report.tree.root in "".join(said.split())  # a PDF breaks it where the line ends
    assert answer_id in said
    assert str(report.patient) in said
    for secret in (b"Doe", b"ID-4711"):
        assert secret not in issued.content
    if form == "html":
        assert "<script>" not in said
        assert "<img src=x" not in said
        assert "肺炎 &lt;b&gt;" in said
    else:
        assert "<script>alert(1)</script> &" in said
        assert "肺炎" in said
    (event,) = session.log.read(Filter(action="report"))
    assert event.entity["sha256"] == hashlib.sha256(issued.content).hexdigest() == issued.sha256
    assert (event.entity["form"], event.entity["status"]) == (form, "final")
    assert (event.study, event.patient) == (study.study_instance_uid, report.patient)


def test_the_same_report_is_the_same_file(session: Session, study: Study) -> None:
    answer(session, study, "yes")
    report: Report = compose(session, study)
    for form in FORMS:
        assert issue(session, report, form).content == issue(session, report, form).content


def test_the_command_writes_every_form_and_refuses_others(
    session: Session,
    study: Study,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MEDVQA_AUDIT_URL", str(tmp_path / "trail.sqlite"))
    monkeypatch.setenv("MEDVQA_KEY_FOLDER", str(tmp_path / "keys"))
    monkeypatch.setenv("MEDVQA_AGENT", "dr-17")

    def run(out: str) -> int:
        return run_medvqa("report", tmp_path / "study", "--out", out)

    assert run(str(tmp_path / "a.pdf")) == 10
    assert "ask first" in capsys.readouterr().err
    answer(session, study, "yes")
    for name, begin in (
        ("a.pdf", b"%PDF"),
        ("b.html", b"<!doctype html>"),
        ("c.json", b'{\n  "form": "medvqa-report-1"'),
        ("d.fhir.json", b'{\n  "resourceType": "DiagnosticReport"'),
    ):
        assert run(str(tmp_path / name)) == 0
        assert (tmp_path / name).read_bytes().startswith(begin)
    assert "preliminary report of 1 answers" in capsys.readouterr().out
    assert run(str(tmp_path / "c.doc")) == 2
    assert "ends in none of .html, .pdf" in capsys.readouterr().err
