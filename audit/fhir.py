"""Events as FHIR AuditEvent and Provenance resources, R4 (4.0.1) and R5 (5.0.0), coded by DICOM.

What a resource leaves out, above all an event's particulars, stays in the trail: its `id` is the event's
RFC 6962 leaf hash, which is the SHA-256 of a zero byte and the canonical body, and so covers all of it.
Patients, agents and studies are logical references: identifiers, never names.

References: HL7 FHIR R4 and R5, AuditEvent, Provenance, Bundle; DICOM PS3.15 A.5.3 and PS3.16 CID 400 to 403.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeAlias
from uuid import UUID, uuid5

from audit.actions import Action
from audit.types import Event

Version: TypeAlias = Literal["R4", "R5"]
Resource: TypeAlias = dict[str, Any]
"""A FHIR resource or element as plain JSON."""

_NAMESPACE = UUID("db4ffe88-e17f-46a9-97b3-869a743cde29")


@cache
def system(name: str) -> str:
    """URI of a system of codes or identifiers of the trail's own, such as `action` or `patient`."""
    return f"urn:uuid:{uuid5(_NAMESPACE, name)}"


DCM = {
    "110100": "Application Activity",
    "110101": "Audit Log Used",
    "110102": "Begin Transferring DICOM Instances",
    "110103": "DICOM Instances Accessed",
    "110104": "DICOM Instances Transferred",
    "110106": "Export",
    "110112": "Query",
    "110113": "Security Alert",
    "110114": "User Authentication",
    "110122": "Login",
    "110123": "Logout",
    "110129": "Security Configuration",
    "110131": "Software Configuration",
    "110137": "User Security Attributes Changed",
    "110150": "Application",
}
"""The codes of PS3.16 that are used here, with their meanings."""

_ROLES = {
    "1": "Patient",
    "3": "Report",
    "4": "Domain Resource",
    "5": "Master file",
    "11": "Security User Entity",
    "13": "Security Resource",
    "24": "Query",
}
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What an action is called outside."""

    event: str
    """DICOM Event ID, of CID 400."""
    kind: str | None = None
    """DICOM Event Type Code, of CID 401 or 403, where the message has one that fits."""
    action: Literal["C", "R", "U", "D", "E"] = "E"
    """Create, read, update, delete or execute: as PS3.15 A.5.3 fixes it for the message."""
    subject: str | None = "4"
    """What the event's subject was in it: DICOM Participant Object Type Code Role; None where none fits."""
    participant: str | None = None
    """Which part the agent had in making or signing the subject (FHIR provenance-participant-type); None
    where the action made and signed nothing."""
    created: bool = False
    """Whether the subject came to be by the action."""


_ACTIVITY = Meaning(event="110100")

MEANINGS: dict[str, Meaning] = {
    Action.LOGIN: Meaning(event="110114", kind="110122", subject=None),
    Action.LOGOUT: Meaning(event="110114", kind="110123", subject=None),
    Action.CHANGE_ROLE: Meaning(event="110113", kind="110137", subject="11"),
    Action.CONFIGURE: Meaning(event="110113", kind="110131", subject="5"),
    Action.LOAD_MODEL: _ACTIVITY,
    Action.FIND_STUDIES: Meaning(event="110112", subject="24"),
    Action.RETRIEVE: Meaning(event="110102", subject="3"),
    Action.RECEIVE: Meaning(event="110104", action="C", subject="3"),
    Action.OPEN_STUDY: Meaning(event="110103", action="R", subject="3"),
    Action.ASK: Meaning(event="110112", subject="24"),
    Action.ANSWER: Meaning(event="110100", participant="enterer", created=True),
    Action.RECALL: _ACTIVITY,
    Action.AGREE: _ACTIVITY,
    Action.REFUSE: _ACTIVITY,
    Action.PROMPT: Meaning(event="110112", subject="24"),
    Action.REPLY: _ACTIVITY,
    Action.PERFORM: Meaning(event="110112", subject="24"),
    Action.RESULT: Meaning(event="110100", participant="enterer", created=True),
    Action.EXPLAIN: Meaning(event="110100", participant="enterer", created=True),
    Action.FIRST_READ: _ACTIVITY,
    Action.REVIEW: Meaning(event="110100", participant="verifier"),
    Action.SIGN: Meaning(event="110100", participant="attester"),
    Action.ADDENDUM: Meaning(event="110100", participant="author"),
    Action.INDEX: Meaning(event="110100", subject="3"),
    Action.FIND_SIMILAR: Meaning(event="110112", subject="24"),
    Action.PRACTICE: _ACTIVITY,
    Action.STOP: Meaning(event="110113", kind="110131", subject=None),
    Action.RESUME: Meaning(event="110113", kind="110131", subject=None),
    Action.REPORT: Meaning(event="110100", subject="3", participant="author", created=True),
    Action.EXPORT: Meaning(event="110106", action="R"),
    Action.DEIDENTIFY: Meaning(event="110106", action="R"),
    Action.SEND: Meaning(event="110102", subject="3"),
    Action.DELIVER: Meaning(event="110104", action="C", subject="3"),
    Action.REPLAY: _ACTIVITY,
    Action.READ_TRAIL: Meaning(event="110101", action="R", subject="13"),
    Action.CHECKPOINT: Meaning(event="110100", subject="13"),
    Action.ROTATE_KEY: Meaning(event="110113", kind="110129", subject="13"),
    Action.ARCHIVE: Meaning(event="110100", subject="13", participant="custodian"),
    Action.UPGRADE: Meaning(event="110113", kind="110131", subject="13"),
}
"""Every action, in DICOM's and FHIR's words; what is not here is Application Activity. PS3.15 A.5.3.1 narrows
that message to start and stop: what is coded so here follows PS3.16's wider definition, and the trail's own
code beside it says what happened."""

_OUTCOMES = {
    "success": ("0", "success", "Operation Successful"),
    "refused": ("4", "error", "Error"),
    "failed": ("8", "fatal", "Fatal"),
}
"""R4's code (DICOM's Event Outcome Indicator), and R5's with its display (issue-severity)."""


def audit_event(event: Event, *, version: Version, archived: bool = False) -> Resource:
    """An event as an AuditEvent, as JSON.

    Args:
        event: Of a trail, under any action.
        version: Of FHIR.
        archived: Whether only its row's columns are known, as its body stands in an archive; it then says so.
    """
    meaning = MEANINGS.get(event.action, _ACTIVITY)
    kinds = [_dcm(meaning.kind)] if meaning.kind else []
    kinds.append(_own_action(event.action))
    resource: Resource = {
        "resourceType": "AuditEvent",
        "id": event.hash,
        "action": meaning.action,
        "recorded": event.recorded.isoformat(),
        "agent": _agents(event),
        "source": {"observer": _observer(event)},
        "entity": [_subject(event, meaning, version, archived=archived)],
    }
    if event.study is not None:
        resource["entity"].append({"what": refer_to_study(event.study), **_role("3", version)})
    code, severity, display = _OUTCOMES.get(event.outcome, _OUTCOMES["failed"])
    if version == "R4":
        resource |= {"type": _dcm(meaning.event), "subtype": kinds, "outcome": code}
        if event.patient is not None:
            resource["entity"].append({"what": refer_to_patient(event.patient), **_role("1", version)})
        return resource
    coding = {"system": "http://hl7.org/fhir/issue-severity", "code": severity, "display": display}
    resource |= {"category": [{"coding": [_dcm(meaning.event)]}], "code": {"coding": kinds}}
    resource["outcome"] = {"code": coding}
    if event.patient is not None:
        resource["patient"] = refer_to_patient(event.patient)
    return resource


def provenance(event: Event, *, version: Version) -> Resource | None:
    """Who made or signed an event's subject, as a Provenance; None where the action did neither.

    Only what succeeded made anything. The AuditEvent of the same `id` is about the same event.
    """
    meaning = MEANINGS.get(event.action, _ACTIVITY)
    if meaning.participant is None or event.outcome != "success":
        return None
    agents = [_participant(meaning.participant, _agent(event))]
    if meaning.created and event.model is not None:
        agents.append(_participant("assembler", _model(event.model)))
    coding = [_own_action(event.action)]
    if meaning.created:
        operation = {"system": f"{_TERMINOLOGY}/v3-DataOperation", "code": "CREATE", "display": "create"}
        coding.insert(0, operation)
    resource: Resource = {
        "resourceType": "Provenance",
        "id": event.hash,
        "target": [refer_to("subject", event.subject)],
        "recorded": event.recorded.isoformat(),
        "activity": {"coding": coding},
        "agent": agents,
    }
    if event.study is not None:
        resource["entity"] = [{"role": "source", "what": refer_to_study(event.study)}]
    if version == "R5" and event.patient is not None:
        resource["patient"] = refer_to_patient(event.patient)
    return resource


def resources(event: Event, *, version: Version) -> tuple[Resource, ...]:
    """An event's AuditEvent, then its Provenance where it has one."""
    made = provenance(event, version=version)
    return (audit_event(event, version=version), *([made] if made else []))


def bundle(events: Iterable[Event], *, version: Version) -> Resource:
    """Events as one collection Bundle, in memory; for many, write them line by line with `audit.export`."""
    entries = [
        {"fullUrl": _full_url(resource), "resource": resource}
        for event in events
        for resource in resources(event, version=version)
    ]
    return {"resourceType": "Bundle", "type": "collection", **({"entry": entries} if entries else {})}


def _full_url(resource: Resource) -> str:
    return "urn:uuid:" + str(uuid5(_NAMESPACE, f"{resource['resourceType']}/{resource['id']}"))


def _dcm(code: str) -> Resource:
    return {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": code, "display": DCM[code]}


def _own_action(action: str) -> Resource:
    # A FHIR code holds no runs of spaces; a trail takes any printable name.
    return {"system": system("action"), "code": "-".join(action.split()) or "-", "display": action}


def refer_to(name: str, value: str, **fields: str) -> Resource:
    """A reference by an identifier of the trail's own, for what no FHIR server holds."""
    return {**fields, "identifier": {"system": system(name), "value": value}}


def refer_to_patient(pseudonym: str) -> Resource:
    """A reference to a patient by pseudonym."""
    return refer_to("patient", pseudonym, type="Patient")


def _model(digest: str) -> Resource:
    return refer_to("model", digest, type="Device")


def _agent(event: Event) -> Resource:
    return refer_to("agent", event.agent)


def refer_to_study(study: str) -> Resource:
    """A reference to a study: by its UID as FHIR writes one, where it is a UID."""
    if re.fullmatch(r"(?=.{1,64}$)[0-2](\.(0|[1-9][0-9]*))+", study):
        return {
            "type": "ImagingStudy",
            "identifier": {"system": "urn:dicom:uid", "value": f"urn:oid:{study}"},
        }
    return refer_to("study", study, type="ImagingStudy")


def _observer(event: Event) -> Resource:
    if event.source is None:
        return {"type": "Device", "display": "not recorded"}
    return refer_to("source", event.source, type="Device")


def _agents(event: Event) -> list[Resource]:
    asked: Resource = {"who": _agent(event), "requestor": True}
    if event.role is not None:
        asked["role"] = [{"text": event.role}]
    if event.model is None:
        return [asked]
    return [asked, {"type": {"coding": [_dcm("110150")]}, "who": _model(event.model), "requestor": False}]


def _participant(part: str, who: Resource) -> Resource:
    system_ = f"{_TERMINOLOGY}/provenance-participant-type"
    return {"type": {"coding": [{"system": system_, "code": part, "display": part.capitalize()}]}, "who": who}


def _role(code: str, version: Version) -> Resource:
    """What an entity was in the event; R4 has a type beside it: a person or a thing of the system."""
    coding = {"system": f"{_TERMINOLOGY}/object-role", "code": code, "display": _ROLES[code]}
    if version == "R5":
        return {"role": {"coding": [coding]}}
    type_ = ("1", "Person") if code in ("1", "11") else ("2", "System Object")
    entity_type = {"system": f"{_TERMINOLOGY}/audit-entity-type", "code": type_[0], "display": type_[1]}
    return {"type": entity_type, "role": coding}


def _subject(event: Event, meaning: Meaning, version: Version, *, archived: bool) -> Resource:
    """The event's subject, with what ties the resource to the tree."""
    details = {"sequence": str(event.sequence), "leaf-hash": event.hash}
    details |= {"verdict": event.verdict} if event.verdict is not None else {}
    details |= {"confidence": repr(event.confidence)} if event.confidence is not None else {}
    details |= {"archived": "true"} if archived else {}
    entity: Resource = {
        "what": refer_to("subject", event.subject),
        **(_role(meaning.subject, version) if meaning.subject else {}),
        "detail": [_detail(name, value, version) for name, value in details.items()],
    }
    if version == "R4" and meaning.event == "110101":
        entity["name"] = "Security Audit Log"  # PS3.15 A.5.3.2 asks for these words
    return entity


def _detail(name: str, value: str, version: Version) -> Resource:
    kind = name if version == "R4" else {"coding": [{"system": system("detail"), "code": name}]}
    return {"type": kind, "valueString": value}
