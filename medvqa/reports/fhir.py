"""A report as a FHIR DiagnosticReport with contained Observations, R4 (4.0.1) or R5 (5.0.0).

What holds is the value of an Observation. Of what does not hold there is an Observation too, `cancelled` and
without a value or checks, so that nobody misses the question and nobody reads an answer: the model's words
are in the attached PDF alone, struck out. Patients, people and the study are logical references: identifiers,
never names; the identifiers' systems are those of `audit.fhir`.

A DiagnosticReport is performed by people and organisations; the model that answered is therefore the `device`
of each Observation, and the assembler in the contained Provenance, which ties the report to the trail's tree.

References: HL7 FHIR R4 and R5, DiagnosticReport, Observation, Device, Provenance; LOINC 18748-4.
"""

from __future__ import annotations

import base64
import json
from html import escape
from typing import TYPE_CHECKING, Any

from audit.fhir import refer_to, refer_to_patient, refer_to_study, system
from medvqa.reports.pdf import write_pdf
from medvqa.reports.wording import NOT_RELIED_ON

if TYPE_CHECKING:
    from audit.fhir import Resource, Version
    from medvqa.reports.document import Asked, ChecksPart, Document, Held, ModelPart, Row

_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"


def write_fhir(document: Document, version: Version) -> bytes:
    """The resource as JSON in UTF-8, with the PDF as its presented form."""
    resource = diagnostic_report(document, version=version, pdf=write_pdf(document))
    return json.dumps(resource, ensure_ascii=False, indent=2).encode() + b"\n"


def diagnostic_report(document: Document, *, version: Version, pdf: bytes | None = None) -> Resource:
    """A report as a DiagnosticReport, as JSON.

    Its status is `registered` while nothing in it holds and nothing is signed, and else that of the report.

    Args:
        document: The report.
        version: Of FHIR.
        pdf: The report as people read it, to be attached.
    """
    held = {answer.answer_id: answer for answer in document.answers}
    devices = {model.digest: f"model-{number}" for number, model in enumerate(document.models, 1)}
    observations = [
        _observation(document, asked, held.get(asked.answer_id), name=f"answer-{number}", devices=devices)
        for number, asked in enumerate(document.asked, 1)
    ]
    signers = list(dict.fromkeys(one.signer for asked in document.asked for one in asked.signatures))
    nothing_yet = document.status == "preliminary" and not document.answers and not signers
    resource: Resource = {
        "resourceType": "DiagnosticReport",
        "meta": {"tag": [{"system": system("tag"), "code": "not-for-diagnosis", "display": document.notice}]},
        "text": {"status": "generated", "div": _narrate(document)},
        "contained": [
            *observations,
            *(_device(model, devices[model.digest], version) for model in document.models),
            _provenance(document, devices),
        ],
        "identifier": [{"system": system("report"), "value": document.study.study_instance_uid}],
        "status": "registered" if nothing_yet else document.status,
        "code": {
            "coding": [
                {"system": "http://loinc.org", "code": "18748-4", "display": "Diagnostic imaging study"}
            ]
        },
        "issued": document.issued.isoformat(),
        "imagingStudy" if version == "R4" else "study": [refer_to_study(document.study.study_instance_uid)],
        "result": [{"reference": f"#{one['id']}"} for one in observations],
    }
    if document.patient is not None:
        resource["subject"] = refer_to_patient(document.patient)
    if signers:
        resource["resultsInterpreter"] = [_person(signer) for signer in signers]
    if pdf is not None:
        data = base64.b64encode(pdf).decode()
        resource["presentedForm"] = [
            {"contentType": "application/pdf", "data": data, "title": document.status_text}
        ]
    return resource


def _observation(
    document: Document, asked: Asked, held: Held | None, *, name: str, devices: dict[str, str]
) -> Resource:
    resource: Resource = {
        "resourceType": "Observation",
        "id": name,
        "identifier": [{"system": system("subject"), "value": asked.answer_id}],
        "status": "cancelled" if held is None else held.status,
        "code": {"text": asked.question},
        "issued": asked.row.recorded.isoformat(),
        "device": {"reference": f"#{devices[asked.model]}"},
        "derivedFrom": [refer_to_study(document.study.study_instance_uid)],
        "component": _places(asked),
    }
    if document.patient is not None:
        resource["subject"] = refer_to_patient(document.patient)
    if held is None:
        reason = next(one.reason for one in document.struck_out if one.answer_id == asked.answer_id)
        coding = {"system": f"{_TERMINOLOGY}/data-absent-reason", "code": "unknown", "display": "Unknown"}
        resource["dataAbsentReason"] = {"coding": [coding], "text": f"No answer holds: {reason}"}
    else:
        resource["valueString"] = held.text
        resource["component"] = [*_components(asked.checks), *_places(asked)]
    if asked.reviews:
        reviewers = dict.fromkeys(review.reviewer for review in asked.reviews)
        resource["performer"] = [_person(reviewer) for reviewer in reviewers]
    if asked.addenda:
        resource["note"] = [
            {"authorString": one.author, "time": one.row.recorded.isoformat(), "text": one.text}
            for one in asked.addenda
        ]
    return resource


def _components(checks: ChecksPart) -> list[Resource]:
    kind = "confidence" if checks.confidence_calibrated else "uncalibrated-confidence"
    nats = {
        "image-reliance": checks.image_reliance,
        "image-effect": checks.image_effect,
        "wording-effect": checks.wording_effect,
    }
    return [
        _component("verdict", valueString=f"{checks.verdict}: {checks.meaning}"),
        _component("abstains", valueBoolean=checks.abstains),
        _component(kind, valueQuantity={"value": checks.confidence}),
        *(
            _component(name, valueQuantity={"value": value, "unit": "nat"})
            for name, value in nats.items()
            if value is not None
        ),
    ]


def _places(asked: Asked) -> list[Resource]:
    return [
        _component("sop-instance-uid", valueString=asked.image.sop_instance_uid),
        _component("frame-number", valueInteger=asked.image.frame_number),
        _component("leaf-hash", valueString=asked.row.leaf_hash),
    ]


def _component(name: str, **value: Any) -> Resource:
    code = {"system": system("check"), "code": name, "display": name.replace("-", " ")}
    return {"code": {"coding": [code]}, **value}


def _device(model: ModelPart, name: str, version: Version) -> Resource:
    """The model, known by its digest; the digests of its parts are its versions."""
    parts = {
        "weights SHA-256": model.weights_sha256,
        "adapter SHA-256": model.adapter_sha256,
        "tokenizer SHA-256": model.tokenizer_sha256,
        "calibration SHA-256": model.calibration_sha256,
        "prompt": model.prompt_version,
    }
    named = (
        {"deviceName": [{"name": model.name, "type": "model-name"}]}
        if version == "R4"
        else {"name": [{"value": model.name, "type": "user-friendly-name"}]}
    )
    return {
        "resourceType": "Device",
        "id": name,
        "identifier": [{"system": system("model"), "value": model.digest}],
        **named,
        "version": [
            {"type": {"text": part}, "value": value} for part, value in parts.items() if value is not None
        ],
    }


def _provenance(document: Document, devices: dict[str, str]) -> Resource:
    coding = {
        "system": f"{_TERMINOLOGY}/provenance-participant-type",
        "code": "assembler",
        "display": "Assembler",
    }
    tree = f"{document.tree.size} {document.tree.root}"
    rows: list[Row] = [asked.row for asked in document.asked]
    return {
        "resourceType": "Provenance",
        "id": "provenance",
        "target": [{"reference": "#"}],
        "recorded": document.issued.isoformat(),
        "agent": [
            {"type": {"coding": [coding]}, "who": {"reference": f"#{name}"}} for name in devices.values()
        ],
        "entity": [
            {"role": "source", "what": refer_to("tree", tree)},
            *({"role": "source", "what": refer_to("leaf", row.leaf_hash)} for row in rows),
        ],
    }


def _person(name: str) -> Resource:
    return refer_to("agent", name, type="Practitioner")


def _narrate(document: Document) -> str:
    """What holds, for people; what does not is left out."""
    held = {answer.answer_id: answer.text for answer in document.answers}
    lines = (
        f"<p>{escape(asked.question)} {escape(held.get(asked.answer_id, NOT_RELIED_ON))}</p>"
        for asked in document.asked
    )
    return (
        f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{document.notice} {document.status_text}.</p>'
        f"{''.join(lines)}<p>Audit trail: {document.tree.size} events, root {document.tree.root}</p></div>"
    )
