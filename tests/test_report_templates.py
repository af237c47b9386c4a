"""A hospital's own template: what it may use, what it must show, and what it is refused for."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from command_line import run_medvqa
from hypothesis import given, settings
from hypothesis import strategies as st
from reported import answer, answer_variously, write_study

from audit import Filter, Log
from medvqa.errors import TemplateError
from medvqa.records import Agent
from medvqa.reports import compose, issue, read_template
from medvqa.reports.html import context_of, fill, required, write_html
from medvqa.reports.samples import SAMPLES
from medvqa.reports.templates import LARGEST, shipped_template
from medvqa.sessions import Session, begin_session
from medvqa.types import Study

FOOT = """
<p>{{ notice }} {{ status_text }}. {{ tree.root }}</p>
{% for model in models %}<p>{{ model.weights_sha256 }} {{ model.adapter_sha256 }}</p>{% endfor %}
{% for statement in statements %}<i>{{ statement.answer_id }}</i>{% endfor %}
"""
"""What every report must show."""


@pytest.fixture
def template(tmp_path: Path) -> Path:
    return tmp_path / "clinic.html"


def test_the_shipped_template_is_one_that_a_hospital_can_start_from(template: Path) -> None:
    shipped = files("medvqa").joinpath("templates", "report.html")
    template.write_bytes(shipped.read_bytes())
    read = read_template(template)
    assert read.sha256 == shipped_template().sha256
    for sample in SAMPLES:
        assert write_html(sample, read) == write_html(sample, shipped_template())


def test_a_template_lays_out_what_it_likes(template: Path) -> None:
    template.write_text(
        "<h1>Clinic</h1>{% for one in statements %}{{ one.question }} {{ one.text }}{% endfor %}" + FOOT,
        encoding="utf-8-sig",
    )
    page = write_html(SAMPLES[0], read_template(template)).decode()
    assert "<h1>Clinic</h1>Where is the sample? on the leftIs there a sample? <p>" in page
    assert "None" not in page  # nothing holds of one answer, and one model has no adapter


def test_the_list_in_the_documentation_is_what_a_template_may_use() -> None:
    text = (Path(__file__).parents[1] / "docs" / "reports.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([\w.\[\]]+)` \|", text, re.MULTILINE)
    context = context_of(SAMPLES[0])
    statement = context.pop("statements")[0]
    assert sorted(listed) == sorted([*context, *(f"statements[].{name}" for name in statement)])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ notice }", "is wrong at line 2: unexpected '}'"),
        ("{% for one in %}", "is wrong at line 2: Expected an expression"),
        ("{{ notice | shout }}", "is wrong at line 2: No filter named 'shout'"),
        ("{{ patient_name }}", "at line 2 asks for 'patient_name', which no report has"),
        ("{% if false %}{{ patient_name }}{% endif %}", "at line 2 asks for 'patient_name'"),
        ("{{ study.patient_name }}", "fails at line 2: 'dict object' has no attribute 'patient_name'"),
        ("{{ statements[0].checks.worth }}", "fails at line 2: 'dict object' has no attribute 'worth'"),
        ("{{ statements[7].text }}", "fails at line 2"),
        ("{{ 1 / 0 }}", "fails at line 2 with ZeroDivisionError"),
        ("{{ notice.__class__ }}", "fails at line 2: access to attribute '__class__'"),
        ("{{ notice | attr('__class__') }}", "fails at line 2"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "fails at line 2"),
        ("{{ '{0.__class__}'.format(notice) }}", "fails at line 2"),
        ("{{ statements.append(1) }}", "fails at line 2: "),
        ("{{ study.update(images=0) }}", "fails at line 2: "),
        ("{{ range(10 ** 9) }}", "fails at line 2 with OverflowError"),
        ("{% include '/etc/hostname' %}", "at line 2 includes another file"),
        ("{% include 'letterhead.html' %}", "at line 2 includes another file"),
        ("{% extends 'letterhead.html' %}", "at line 2 extends another file"),
        ("{% import 'letterhead.html' as x %}", "at line 2 imports another file"),
        ("{% from 'letterhead.html' import x %}", "at line 2 imports another file"),
        ("{% autoescape false %}{% endautoescape %}", "at line 2 changes the escaping"),
        ("{{ notice | safe }}", "is wrong at line 2: No filter named 'safe'"),
        ("{{ statements[0].struck | striptags }}", "is wrong at line 2: No filter named 'striptags'"),
    ],
)
def test_a_bad_template_is_refused_with_its_line(template: Path, source: str, said: str) -> None:
    (template.parent / "letterhead.html").write_text("Clinic")
    template.write_text(f"<p>\n{source}\n</p>{FOOT}", encoding="utf-8")
    with pytest.raises(TemplateError) as refused:
        read_template(template)
    assert str(refused.value).startswith(f"the template {template} {said}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        ("{{ notice }}", "the notice"),
        ("{{ status_text }}", "the status"),
        ("{{ tree.root }}", "the root of the audit trail"),
        ("{{ model.weights_sha256 }}", "a model's weights"),
        ("{{ model.adapter_sha256 }}", "a model's adapter"),
        ("{{ statement.answer_id }}", "the audit id of an answer"),
    ],
)
def test_a_template_that_leaves_out_what_every_report_must_show_is_refused(
    template: Path, left_out: str, said: str
) -> None:
    template.write_text(FOOT, encoding="utf-8")
    read_template(template)
    for instead in ("", f"<!-- {left_out} -->", f"<title>{left_out}</title>", f"<style>{left_out}</style>"):
        template.write_text(FOOT.replace(left_out, instead), encoding="utf-8")
        with pytest.raises(TemplateError, match=f"leaves out .*{said}"):
            read_template(template)


@pytest.mark.parametrize(
    "tag",
    [
        "<script>1</script>",
        "<LINK rel=stylesheet href=http://127.0.0.1/>",
        '<meta http-equiv="refresh" content="0;url=http://127.0.0.1/{{ patient }}">',
        "<form action=http://127.0.0.1/></form>",
        "<iframe src=http://127.0.0.1/></iframe>",
        "<base href=http://127.0.0.1/>",
    ],
)
def test_a_template_that_could_reach_the_network_is_refused(template: Path, tag: str) -> None:
    template.write_text(tag + FOOT, encoding="utf-8")
    with pytest.raises(TemplateError, match=r"has <[a-z -]+>, by which a report could reach the network"):
        read_template(template)


def test_a_status_that_is_typed_in_is_refused(template: Path) -> None:
    template.write_text(FOOT.replace("{{ status_text }}", "Final: every answer is signed"), encoding="utf-8")
    with pytest.raises(TemplateError, match="leaves out the status"):
        read_template(template)


def test_a_file_that_is_no_template_is_refused(template: Path) -> None:
    with pytest.raises(TemplateError, match=r"cannot be read: No such file .* report_template"):
        read_template(template)
    with pytest.raises(TemplateError, match="cannot be read: Is a directory"):
        read_template(template.parent)
    template.write_bytes(b"<p>\n\xff")
    with pytest.raises(TemplateError, match="not UTF-8 at line 2"):
        read_template(template)
    template.write_bytes(b" " * (LARGEST + 1))
    with pytest.raises(TemplateError, match="larger than 4 MiB"):
        read_template(template)


def test_what_is_struck_out_is_so_wherever_a_template_puts_it(template: Path) -> None:
    template.write_text(
        "{% for one in statements %}<b>{{ one.struck }}|{{ one.struck ~ '' }}</b>{% endfor %}" + FOOT
    )
    page = write_html(SAMPLES[0], read_template(template)).decode()
    assert page.count("<del>on the right</del>") == 2
    assert page.count("on the right") == 2


def test_a_template_may_fail_on_a_real_report_alone_and_then_quotes_nothing_of_it(template: Path) -> None:
    template.write_text("{% if patient == 'P-1' %}\n{{ study[patient] }}{% endif %}" + FOOT, encoding="utf-8")
    read = read_template(template)
    real = SAMPLES[0].model_copy(update={"patient": "P-1"})
    with pytest.raises(TemplateError, match="fails at line 2 with UndefinedError") as refused:
        write_html(real, read)
    assert "P-1" not in str(refused.value)


@settings(max_examples=10)
@given(st.text(st.sampled_from("<>&\"'{}%/\\ a\n\u202e"), max_size=20))
def test_whatever_was_typed_stays_text(typed: str) -> None:
    (held,) = SAMPLES[1].answers
    answers = (held.model_copy(update={"text": f"<p id=x>{typed}"}),)
    page = fill(shipped_template(), SAMPLES[1].model_copy(update={"answers": answers}), quoting=False)
    plain = fill(shipped_template(), SAMPLES[1], quoting=False)
    assert page.count("<") == plain.count("<")


def test_every_sample_differs_in_what_must_be_shown() -> None:
    statuses = [dict(required(sample))["the status (status_text)"] for sample in SAMPLES]
    assert len(set(statuses)) == 3


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return write_study(tmp_path / "study")


@pytest.fixture
def session(own_place: None, tmp_path: Path) -> Iterator[Session]:  # noqa: ARG001
    with Log(f"sqlite:///{tmp_path / 'trail.sqlite'}") as log:
        yield begin_session(log, Agent(name="dr-17"), key_folder=tmp_path / "keys")


def test_a_template_is_recorded_with_the_report(session: Session, study: Study, template: Path) -> None:
    answer_variously(session, study)
    template.write_text(FOOT, encoding="utf-8")
    read = read_template(template)
    issue(session, compose(session, study), "html", template=read)
    issue(session, compose(session, study), "html")
    with pytest.raises(TemplateError, match=r"writes \.html reports, not \.pdf"):
        issue(session, compose(session, study), "pdf", template=read)
    by_template, shipped = session.log.read(Filter(action="report"))
    assert (by_template.entity["template"], shipped.entity["template"]) == (read.sha256, None)


def test_the_command_takes_a_template_from_option_and_settings(
    session: Session, study: Study, template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(session, study, "yes")
    template.write_text("<h1>Clinic A</h1>" + FOOT, encoding="utf-8")
    own = template.with_name("b.html")
    own.write_text("<h1>Clinic B</h1>" + FOOT, encoding="utf-8")
    (tmp_path / "medvqa.toml").write_text(f"report_template = {json.dumps(str(template))}")
    folder = tmp_path / "study"
    assert run_medvqa("report", folder, "--out", "a.html") == 0
    assert run_medvqa("report", folder, "--out", "b.html", "--template", own) == 0
    assert run_medvqa("report", folder, "--out", "c.pdf") == 0
    assert b"Clinic A" in (tmp_path / "a.html").read_bytes()
    assert b"Clinic B" in (tmp_path / "b.html").read_bytes()
    assert run_medvqa("report", folder, "--out", "d.pdf", "--template", own) == 2
    reports = len(list(session.log.read(Filter(action="report"))))
    own.write_text("{{ patient_name }}", encoding="utf-8")
    capsys.readouterr()
    assert run_medvqa("report", folder, "--out", "e.html", "--template", own) == TemplateError.exit_code
    assert "at line 1 asks for 'patient_name'" in capsys.readouterr().err
    assert not (tmp_path / "e.html").exists()
    assert len(list(session.log.read(Filter(action="report")))) == reports
    shutil.rmtree(folder)
    assert run_medvqa("report", folder, "--out", "f.html", "--template", own) == TemplateError.exit_code
