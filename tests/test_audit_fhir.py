"""Events as FHIR: valid R4 and R5 for every action and any text, coded as DICOM does, tied to the tree."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.auditevent import AuditEvent as AuditEventR5
from fhir.resources.bundle import Bundle as BundleR5
from fhir.resources.provenance import Provenance as ProvenanceR5
from fhir.resources.R4B.auditevent import AuditEvent as AuditEventR4
from fhir.resources.R4B.bundle import Bundle as BundleR4
from fhir.resources.R4B.provenance import Provenance as ProvenanceR4
from hypothesis import example, given
from hypothesis import strategies as st
from pydicom.sr._concepts_dict import concepts

import audit
from audit import Event, fhir
from audit.actions import Action

# R4B (4.3.0) changed no element of AuditEvent, Provenance or Bundle against R4 (4.0.1).
MODELS: dict[tuple[str, str], Any] = {
    ("R4", "AuditEvent"): AuditEventR4,
    ("R5", "AuditEvent"): AuditEventR5,
    ("R4", "Provenance"): ProvenanceR4,
    ("R5", "Provenance"): ProvenanceR5,
    ("R4", "Bundle"): BundleR4,
    ("R5", "Bundle"): BundleR5,
}
VERSIONS: list[fhir.Version] = ["R4", "R5"]
LABELS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.isprintable)
EVENTS = st.builds(
    Event,
    agent=LABELS,
    action=st.sampled_from(Action) | LABELS,
    subject=LABELS,
    entity=st.just({}),
    outcome=st.sampled_from(["success", "refused", "failed"]),
    role=st.none() | LABELS,
    patient=st.none() | LABELS,
    study=st.none() | st.from_regex(r"[0-2](\.[1-9][0-9]{0,5}){2,8}", fullmatch=True) | LABELS,
    model=st.none() | LABELS,
    verdict=st.none() | LABELS,
    confidence=st.none() | st.floats(0, 1),
    sequence=st.integers(1, 2**53 - 1),
    recorded=st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    source=st.none() | LABELS,
    hash=st.binary(min_size=32, max_size=32).map(bytes.hex),
)


def event_of(**changes: Any) -> Event:
    fields: dict[str, Any] = {
        "agent": "dr-17",
        "action": "answer",
        "subject": "answer-1",
        "entity": {"answer": "a nodule", "patient_name": "Canary^Ann"},
        "role": "radiologist",
        "patient": "pseudonym-1",
        "study": "1.2.840.113619.2.1",
        "model": "ab" * 32,
        "verdict": "check",
        "confidence": 0.75,
        "sequence": 17,
        "recorded": datetime(2026, 3, 1, 12, 0, 0, 250000, tzinfo=UTC),
        "source": "station-3",
        "hash": "0123456789abcdef" * 4,
    }
    return Event(**{**fields, **changes})


def require_valid(resource: dict[str, Any], version: str) -> None:
    """Validate, and that nothing was dropped or changed: what the model writes is what it read."""
    model = MODELS[version, resource["resourceType"]]
    held = model.model_validate_json(json.dumps(resource))
    assert json.loads(held.model_dump_json()).keys() == resource.keys()
    assert held.id == resource.get("id")


def codings(value: Any) -> Iterator[dict[str, Any]]:
    """Every coding anywhere in a resource."""
    if isinstance(value, list):
        for item in value:
            yield from codings(item)
    elif isinstance(value, dict):
        if "code" in value and "system" in value:
            yield value
        for item in value.values():
            yield from codings(item)


def test_every_action_has_a_meaning() -> None:
    assert fhir.MEANINGS.keys() == set(Action)


def test_the_tables_in_the_documentation_are_those_of_the_code() -> None:
    text = (Path(audit.__file__).parents[1] / "docs" / "audit.md").read_text(encoding="utf-8")
    for action, meaning in fhir.MEANINGS.items():
        codes = f"{meaning.event} {fhir.DCM[meaning.event]}"
        kind = f"{meaning.kind} {fhir.DCM[meaning.kind]}" if meaning.kind else ""
        made = f"{meaning.participant}{', CREATE' if meaning.created else ''}" if meaning.participant else ""
        assert f"| `{action}` | {codes} | {kind} | {meaning.action} | {made} |" in text
    for name in ("action", "detail", "agent", "source", "subject", "study", "patient", "model"):
        assert f"| `{name}` | `{fhir.system(name)}` |" in text


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("action", Action)
def test_every_action_is_valid(action: Action, version: fhir.Version) -> None:
    for resource in fhir.resources(event_of(action=action), version=version):
        require_valid(resource, version)


@given(EVENTS, st.sampled_from(VERSIONS), st.booleans())
@example(event_of(action=" a  b "), "R4", False)
@example(event_of(action=" "), "R5", False)
def test_any_event_is_valid(event: Event, version: fhir.Version, archived: bool) -> None:
    resource = fhir.audit_event(event, version=version, archived=archived)
    require_valid(resource, version)
    assert all(re.fullmatch(r"\S+( \S+)*", coding["code"]) for coding in codings(resource))
    if made := fhir.provenance(event, version=version):
        require_valid(made, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_dicom_codes_are_those_of_the_standard(version: fhir.Version) -> None:
    meanings = {
        code: (meaning, set(groups))
        for found in concepts["DCM"].values()
        for code, (meaning, groups) in found.items()
    }
    used = [
        coding
        for action in Action
        for coding in codings(fhir.audit_event(event_of(action=action), version=version))
        if coding["system"] == "http://dicom.nema.org/resources/ontology/DCM"
    ]
    assert {coding["code"] for coding in used} == fhir.DCM.keys()
    assert all(coding["display"] == meanings[coding["code"]][0] for coding in used)
    for meaning in fhir.MEANINGS.values():
        assert 400 in meanings[meaning.event][1]
        if meaning.kind:  # a Security Alert takes its types from CID 403
            assert (403 if meaning.event == "110113" else 401) in meanings[meaning.kind][1]


def test_actions_are_as_dicom_fixes_them_for_each_message() -> None:
    # PS3.15 A.5.3.1 to .4, .6, .7, .10 to .12: EventActionCode; of a transfer C, what was lacking.
    fixed = {"110100": "E", "110101": "R", "110106": "R", "110103": "R"}
    fixed |= {"110102": "E", "110104": "C"}
    fixed |= {"110112": "E", "110113": "E", "110114": "E"}
    assert all(meaning.action == fixed[meaning.event] for meaning in fhir.MEANINGS.values())


def test_r4_says_who_what_and_how_it_ended() -> None:
    resource = fhir.audit_event(event_of(outcome="refused", action="ask"), version="R4")
    assert (resource["type"]["code"], resource["type"]["display"]) == ("110112", "Query")
    assert [coding["code"] for coding in resource["subtype"]] == ["ask"]
    assert (resource["action"], resource["outcome"]) == ("E", "4")
    assert resource["recorded"] == "2026-03-01T12:00:00.250000+00:00"
    person, model = resource["agent"]
    assert (person["who"]["identifier"]["value"], person["requestor"]) == ("dr-17", True)
    assert person["role"] == [{"text": "radiologist"}]
    assert (model["who"]["identifier"]["value"], model["requestor"]) == ("ab" * 32, False)
    assert resource["source"]["observer"]["identifier"]["value"] == "station-3"
    subject, study, patient = resource["entity"]
    assert (subject["role"]["code"], study["role"]["code"], patient["role"]["code"]) == ("24", "3", "1")
    assert study["what"]["identifier"] == {
        "system": "urn:dicom:uid",
        "value": "urn:oid:1.2.840.113619.2.1",
    }


@pytest.mark.parametrize("study", ["study-7", "1..2", "1.02", "1." * 32 + "1"])
def test_a_study_that_is_no_uid_is_not_called_one(study: str) -> None:
    resource = fhir.audit_event(event_of(study=study), version="R4")
    identifier = resource["entity"][1]["what"]["identifier"]
    assert identifier == {"system": fhir.system("study"), "value": study}


def test_r5_says_who_what_and_how_it_ended() -> None:
    resource = fhir.audit_event(event_of(outcome="failed", action="configure"), version="R5")
    assert resource["category"][0]["coding"][0]["code"] == "110113"
    assert [coding["code"] for coding in resource["code"]["coding"]] == ["110131", "configure"]
    assert resource["outcome"]["code"]["code"] == "fatal"
    assert resource["patient"]["identifier"]["value"] == "pseudonym-1"
    assert {"type", "subtype", "outcomeDesc"}.isdisjoint(resource)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_outcome_that_nobody_knows_is_no_success(version: fhir.Version) -> None:
    resource = fhir.audit_event(event_of(outcome="whatever"), version=version)
    assert resource["outcome"] == "8" if version == "R4" else resource["outcome"]["code"]["code"] == "fatal"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_resource_is_tied_to_the_tree(version: fhir.Version, tmp_path: Path) -> None:
    with audit.Log(f"sqlite:///{tmp_path / 'audit.sqlite'}") as log:
        event = log.append(audit.Entry(agent="dr-17", action="answer", subject="answer-1", entity={"a": 1}))
    for resource in fhir.resources(event, version=version):
        assert resource["id"] == event.hash
    details = fhir.audit_event(event, version=version)["entity"][0]["detail"]
    assert {"1", event.hash} <= {detail["valueString"] for detail in details}


@pytest.mark.parametrize("version", VERSIONS)
def test_particulars_stay_in_the_trail(version: fhir.Version) -> None:
    text = json.dumps(fhir.bundle([event_of(action=action) for action in Action], version=version))
    assert "Canary" not in text
    assert "a nodule" not in text


@pytest.mark.parametrize("version", VERSIONS)
def test_a_patient_is_a_pseudonym_without_name(version: fhir.Version) -> None:
    resource = fhir.audit_event(event_of(), version=version)
    patient = resource["patient"] if version == "R5" else resource["entity"][2]["what"]
    assert patient == {
        "type": "Patient",
        "identifier": {"system": fhir.system("patient"), "value": "pseudonym-1"},
    }


def test_provenance_is_about_what_was_made_or_signed() -> None:
    made = {action for action in Action if fhir.provenance(event_of(action=action), version="R5")}
    assert made == {
        Action.ANSWER,
        Action.RESULT,
        Action.EXPLAIN,
        Action.REVIEW,
        Action.SIGN,
        Action.ADDENDUM,
        Action.REPORT,
        Action.ARCHIVE,
    }
    assert fhir.provenance(event_of(outcome="failed"), version="R5") is None


@pytest.mark.parametrize("version", VERSIONS)
def test_the_model_made_the_answer_and_the_person_verified_it(version: fhir.Version) -> None:
    def parts(action: str) -> dict[str, str]:
        resource = fhir.provenance(event_of(action=action), version=version)
        assert resource is not None
        return {
            agent["type"]["coding"][0]["code"]: agent["who"]["identifier"]["value"]
            for agent in resource["agent"]
        }

    assert parts("answer") == {"enterer": "dr-17", "assembler": "ab" * 32}
    assert parts("review") == {"verifier": "dr-17"}
    assert parts("sign") == {"attester": "dr-17"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_bundle_holds_every_resource_once(version: fhir.Version) -> None:
    events = [event_of(sequence=number, hash=f"{number:064x}") for number in range(1, 4)]
    bundle = fhir.bundle(events, version=version)
    require_valid(bundle, version)
    require_valid(fhir.bundle([], version=version), version)
    urls = [entry["fullUrl"] for entry in bundle["entry"]]
    assert len(urls) == len(set(urls)) == 6
