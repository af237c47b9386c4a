"""The forms of a report: what does not hold is struck out or absent in each, and each is valid."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fhir.resources.diagnosticreport import DiagnosticReport as DiagnosticReportR5
from fhir.resources.R4B.diagnosticreport import DiagnosticReport as DiagnosticReportR4
from jsonschema import Draft202012Validator
from pypdf import PdfReader
from reported import answer, answer_variously, write_study
from reportlab.pdfbase.pdfmetrics import stringWidth
from tiny_models import IDENTITY

from audit import Log, fhir
from medvqa.digests import digest_model
from medvqa.reading.reviews import review
from medvqa.reading.signatures import add_addendum, sign
from medvqa.records import Agent
from medvqa.reports import FORMS, Document, Form, compose, document_of, form_of, issue
from medvqa.reports.fhir import diagnostic_report
from medvqa.reports.wording import NOT_RELIED_ON, STRUCK_OUT
from medvqa.sessions import Session, begin_session
from medvqa.study import read_study
from medvqa.types import Heatmap, Image, Study, Verdict

WORDS = "Zyx words"
RESOURCES: dict[fhir.Version, Any] = {"R4": DiagnosticReportR4, "R5": DiagnosticReportR5}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return write_study(tmp_path / "study")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Log(f"sqlite:///{tmp_path / 'trail.sqlite'}") as log:
        yield begin_session(log, Agent(name="dr-17"), key_folder=tmp_path / "keys")


def unstruck_in_html(content: bytes) -> str:
    """All text that is not struck out."""

    class Reader(HTMLParser):
        struck = 0
        text = ""

        def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: ARG002
            self.struck += tag == "del"

        def handle_endtag(self, tag: str) -> None:
            self.struck -= tag == "del"

        def handle_data(self, data: str) -> None:
            self.text += "" if self.struck else data

    reader = Reader()
    reader.feed(content.decode())
    return reader.text


def unstruck_in_pdf(content: bytes) -> str:
    """All text, less the words that a line is drawn through at the place where the first line has them."""
    kept: list[str] = []
    for page in PdfReader(io.BytesIO(content)).pages:
        lines: list[tuple[float, float, float]] = []
        begun = [0.0, 0.0]

        def draw(
            operator: bytes,
            args: Any,
            cm: Any,
            _: Any,
            *,
            begun: list[float] = begun,
            lines: list[tuple[float, float, float]] = lines,
        ) -> None:
            if operator == b"m":
                begun[:] = [float(number) for number in args]
            if operator == b"l":
                lines.append((cm[4] + begun[0], cm[5] + begun[1], cm[4] + float(args[0])))

        def see(
            text: str,
            cm: Any,
            tm: Any,
            _: Any,
            size: float,
            *,
            lines: list[tuple[float, float, float]] = lines,
        ) -> None:
            before, found, after = text.partition(WORDS)
            left, baseline = cm[4] + tm[4], cm[5] + tm[5]
            start = left + stringWidth(before, "DejaVu Sans", size)
            end = start + stringWidth(WORDS, "DejaVu Sans", size)
            if found and any(
                abs(x - start) < 3 and abs(x2 - end) < 3 and 0.1 < (y - baseline) / size < 0.5
                for x, y, x2 in lines
            ):
                text = before + after
            kept.append(text)

        lines.clear()
        page.extract_text(visitor_operand_before=draw)
        page.extract_text(visitor_text=see)
    return "".join(kept)


def unstruck_in_json(content: bytes) -> str:
    document = json.loads(content)
    for one in document["struck_out"]:
        assert one.pop("struck_words") == WORDS
    return json.dumps(document)


def unstruck_in_fhir(content: bytes) -> str:
    resource = json.loads(content)
    (presented,) = resource.pop("presentedForm")
    return json.dumps(resource) + unstruck_in_pdf(base64.b64decode(presented["data"]))


UNSTRUCK: dict[Form, Callable[[bytes], str]] = {
    "html": unstruck_in_html,
    "pdf": unstruck_in_pdf,
    "json": unstruck_in_json,
    "fhir-r4": unstruck_in_fhir,
}
"""R5 differs in no words: see below for its values."""


@pytest.mark.parametrize(
    ("verdict", "abstains", "judged"),
    [
        ("image_blind", False, None),
        ("image_blind", False, "agree"),
        ("fragile", False, "agree"),
        ("unsure", False, None),
        ("grounded", True, None),
        ("grounded", False, "reject"),
        ("grounded", False, "amend"),
    ],
)
def test_what_does_not_hold_is_struck_out_or_absent(
    session: Session, study: Study, verdict: Verdict, abstains: bool, judged: Any
) -> None:
    answer_id = answer(session, study, WORDS, verdict=verdict, abstains=abstains)
    if judged is not None:
        review(session, answer_id, verdict=judged, text="other")
    report = compose(session, study)
    for form, unstruck in UNSTRUCK.items():
        said = unstruck(issue(session, report, form).content)
        assert WORDS not in said, form
        assert "Is there a mass?" in said


def test_what_holds_is_not_struck_out(session: Session, study: Study) -> None:
    answer(session, study, WORDS)
    report = compose(session, study)
    for form, unstruck in UNSTRUCK.items():
        said = unstruck(issue(session, report, form).content)
        assert WORDS in said, form
        assert NOT_RELIED_ON not in said
        assert STRUCK_OUT not in said


def test_every_form_says_where_it_comes_from_and_names_nobody(session: Session, study: Study) -> None:
    answer_variously(session, study)
    report = compose(session, study)
    for form in FORMS:
        content = issue(session, report, form).content
        # A PDF breaks digests where lines end.
        said = "".join((unstruck_in_pdf(content) if form == "pdf" else content.decode()).split())
        for digest in (IDENTITY.weights_sha256, "4" * 64, digest_model(IDENTITY), report.tree.root):
            assert digest in said, form
        for statement in report.statements:
            assert statement.story.answered.hash in said, form
            assert "".join(statement.story.answer_id.split()) in said, form
        assert str(session.pseudonym_of(study)) in said
        for secret in (b"Doe", b"ID-4711"):
            assert secret not in content


def test_json_keeps_what_holds_apart(session: Session, study: Study) -> None:
    answer_variously(session, study)
    document = json.loads(issue(session, compose(session, study), "json").content)
    assert [(one["text"], one["given_by"], one["status"]) for one in document["answers"]] == [
        ("in the left lobe", "model", "amended"),
        ("not to be told from this image", "reviewer", "preliminary"),
    ]
    assert [one["struck_words"] for one in document["struck_out"]] == ["benign", "purple", "yes"]
    assert [one["question"] for one in document["asked"]] == [
        "Where is the mass?",
        "Which kind?",
        "Which colour?",
        "Is it large?",
    ]
    assert document["asked"][0]["addenda"][0]["text"] == "seen on the lateral view too"
    assert document["asked"][0]["signatures"][0]["meaning"] == "reviewed and approved"
    picture = base64.b64decode(document["asked"][0]["pictures"][0]["data"])
    assert picture.startswith(b"\x89PNG")
    assert (document["patient"], document["status"]) == (session.pseudonym_of(study), "preliminary")


def test_json_obeys_the_schema_in_the_documentation(session: Session, study: Study) -> None:
    answer_variously(session, study)
    file = Path(__file__).parents[1] / "docs" / "report.schema.json"
    schema = json.loads(file.read_text(encoding="utf-8"))
    assert schema == Document.model_json_schema(mode="serialization")
    content = issue(session, compose(session, study), "json").content
    Draft202012Validator(schema).validate(json.loads(content))
    assert Document.model_validate_json(content) == document_of(
        replace(compose(session, study), **_same(content))
    )


def _same(content: bytes) -> dict[str, Any]:
    """Time and tree of a report, which differ each time one is put together."""
    read = Document.model_validate_json(content)
    return {"issued": read.issued, "tree": read.tree}


@pytest.mark.parametrize("version", ["R4", "R5"])
def test_fhir_is_valid_and_loses_nothing(session: Session, study: Study, version: fhir.Version) -> None:
    answer_variously(session, study)
    resource = diagnostic_report(document_of(compose(session, study)), version=version, pdf=b"%PDF")
    held = RESOURCES[version].model_validate(resource)
    assert json.loads(held.model_dump_json()).keys() == resource.keys()
    kinds = [type(one).__name__ for one in held.contained]
    assert kinds == [*["Observation"] * 4, *["Device"] * 2, "Provenance"]
    # FHIR: what is contained is referred to, or refers to what contains it.
    names = {f"#{one['id']}" for one in resource["contained"]}
    assert set(re.findall(r'"(#[a-z0-9-]+)"', json.dumps(resource))) == names - {"#provenance"}


@pytest.mark.parametrize("version", ["R4", "R5"])
def test_fhir_gives_a_value_to_what_holds_alone(
    session: Session, study: Study, version: fhir.Version
) -> None:
    answer_variously(session, study)
    resource = diagnostic_report(document_of(compose(session, study)), version=version)
    assert "presentedForm" not in resource
    observations = [one for one in resource["contained"] if one["resourceType"] == "Observation"]
    assert [(one["status"], one.get("valueString")) for one in observations] == [
        ("amended", "in the left lobe"),
        ("preliminary", "not to be told from this image"),
        ("cancelled", None),
        ("cancelled", None),
    ]
    assert ["dataAbsentReason" in one for one in observations] == [False, False, True, True]
    kinds = [
        {one["code"]["coding"][0]["code"] for one in observation["component"]} for observation in observations
    ]
    assert ["verdict" in kind for kind in kinds] == [True, True, False, False]
    assert all({"sop-instance-uid", "leaf-hash"} <= kind for kind in kinds)
    assert "rejected by dr-17" in observations[2]["dataAbsentReason"]["text"]
    assert resource["subject"]["identifier"]["value"] == session.pseudonym_of(study)
    place = resource["imagingStudy" if version == "R4" else "study"][0]["identifier"]
    assert place == {"system": "urn:dicom:uid", "value": f"urn:oid:{study.study_instance_uid}"}
    assert [one["identifier"]["value"] for one in resource["resultsInterpreter"]] == ["dr-17"]
    devices = {one["id"]: one for one in resource["contained"] if one["resourceType"] == "Device"}
    asked = devices[observations[2]["device"]["reference"][1:]]
    assert {"type": {"text": "adapter SHA-256"}, "value": "4" * 64} in asked["version"]


def test_fhir_has_the_status_of_the_report(session: Session, study: Study) -> None:
    def status() -> str:
        return diagnostic_report(document_of(compose(session, study)), version="R4")["status"]

    answer_id = answer(session, study, "yes", verdict="unsure")
    assert status() == "registered"  # there is nothing yet that anybody may rely on
    review(session, answer_id, verdict="agree")
    assert status() == "preliminary"
    sign(session, answer_id, meaning="reviewed and approved")
    assert status() == "final"
    add_addendum(session, answer_id, text="seen again")
    assert status() == "amended"


def test_typed_text_is_data(session: Session, study: Study) -> None:
    text = "<b>&amp; \u202e\n</div>"
    answer(session, study, text, question='"<script>" & \u00e9?')
    document = document_of(compose(session, study))
    assert document.answers[0].text == text
    for version, model in RESOURCES.items():
        held = model.model_validate(diagnostic_report(document, version=version))
        assert held.contained[0].valueString == text
        assert "<script>" not in held.text.div
        assert "&lt;/div&gt;" in held.text.div


def _map_of(image: Image) -> Heatmap:
    values = np.zeros(image.shape, dtype=np.float32)
    values[0, 0] = 1
    return Heatmap(
        method="occlusion", values=values, grid=(2, 2), explained="the answer", draw=lambda _: None
    )


def test_an_overlay_is_shown_where_the_map_is_at_hand_and_named_where_it_is_not(
    session: Session, study: Study
) -> None:
    heatmap = _map_of(study.images[1])
    answer_id = answer(session, study, "yes", heatmap=heatmap)
    (asked,) = document_of(compose(session, study)).asked
    assert asked.heatmap is not None
    assert (asked.heatmap.drawn, [one.kind for one in asked.pictures]) == (False, ["image"])
    assert b"not drawn: not at hand" in issue(session, compose(session, study), "html").content
    (asked,) = document_of(compose(session, study, heatmaps={answer_id: heatmap})).asked
    assert asked.heatmap is not None
    assert (asked.heatmap.drawn, [one.kind for one in asked.pictures]) == (True, ["image", "overlay"])


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.html", "html"),
        ("a.b.PDF", "pdf"),
        ("a.json", "json"),
        ("a.fhir.json", "fhir-r4"),
        ("a.fhir-r5.json", "fhir-r5"),
        ("a.doc", None),
        ("html", None),
    ],
)
def test_a_file_name_asks_for_a_form(name: str, form: Form | None) -> None:
    assert form_of(Path(name)) == form


def test_the_image_is_shown_as_it_was_asked_about(session: Session, study: Study, tmp_path: Path) -> None:
    other = read_study(tmp_path / "study", window="lung")
    assert [asdict(one) for one in other.images[1].applied] != [
        asdict(one) for one in study.images[1].applied
    ]
    answer(session, other, "yes")
    (statement,) = compose(session, study).statements
    assert statement.image is not None
    assert statement.as_asked
    assert np.array_equal(statement.image.pixels, other.images[1].pixels)
    assert not np.array_equal(statement.image.pixels, study.images[1].pixels)


def test_an_image_that_cannot_be_shown_so_again_says_it(session: Session, study: Study) -> None:
    answer(session, study, "yes")
    report = compose(session, study)
    other = replace(report, statements=(replace(report.statements[0], as_asked=False),))
    (picture,) = document_of(other).asked[0].pictures
    assert picture.caption == "Image 2, shown otherwise than it was asked about"
