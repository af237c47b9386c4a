"""Nouns to audit events: what exactly is written down, one function a kind of event.

No patient attribute is among it: a patient is a keyed pseudonym, a study its UIDs and digests, and its path
is left out, for names of files and folders may be those of patients. A question, a review and what a
signature means are recorded as they were written, since a trail that lacks them could not be checked.

What happens around one answer shares its id as `subject`; an event's `model` is
`medvqa.digests.digest_model`, its `verdict` that of the checks or of the reviewer.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from audit import JSON, AuditError, Entry
from audit.actions import Action
from medvqa.digests import digest_model, digest_tokens
from medvqa.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from audit import Event, Log, types
    from medvqa.models.base import Generation
    from medvqa.types import (
        Answer,
        Checks,
        Heatmap,
        HeatmapGrade,
        Image,
        ModelIdentity,
        Notice,
        ReviewVerdict,
        Study,
        Verdict,
    )

CHECKS_VERSION = "3"
"""Changes whenever checks are measured or judged in another way; rows of earlier programs have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Who does what is recorded."""

    name: str
    """Identifier of a person or a program, never of a patient."""
    role: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question as it goes to the model."""

    answer_id: str
    """Given before there is an answer, so that all that follows can name it."""
    patient: str | None
    """Pseudonym."""
    image: Image
    question: str
    model: ModelIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Words as they go to the model without an image."""

    reply_id: str
    """Random."""
    words: str
    model: ModelIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """One search for similar cases."""

    name: str
    """Random."""
    index: str
    """Name of the index."""
    model: str
    """By `medvqa.digests.digest_model`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a request."""

    generation: Generation
    checks: Checks
    heatmap: Heatmap | None
    warnings: tuple[Notice, ...]
    together: int = 1
    """Questions that the model read at once: what it computes differs in the last bits with them."""


def record(log: Log, *entries: Entry) -> tuple[Event, ...]:
    """Append events, all or none.

    Raises:
        RecordError: If the trail did not take them.
    """
    try:
        return log.append_all(entries)
    except AuditError as error:
        raise RecordError(
            f"what was asked for is withheld because it could not be recorded: {error}"
        ) from error


def login(by: Agent, *, session: str) -> Entry:
    """A session of the screens began; `session` is its random name."""
    return _did(by, Action.LOGIN, session, {"through": "screens"})


def logout(by: Agent, *, session: str, reason: str) -> Entry:
    """A session of the screens ended; `reason` is `logged out` or `not used`."""
    return _did(by, Action.LOGOUT, session, {"through": "screens", "reason": reason})


def change_role(by: Agent, *, before: str | None) -> Entry:
    """The agent acts in another role than in the event before."""
    return _did(by, Action.CHANGE_ROLE, by.name, {"before": before, "after": by.role})


def configure(by: Agent, *, subject: str, settings: Mapping[str, JSON], before: Mapping[str, JSON]) -> Entry:
    """Settings differ from those recorded before under the same subject; all are written."""
    changed = sorted(name for name in {*settings, *before} if settings.get(name) != before.get(name))
    return _did(by, Action.CONFIGURE, subject, {"settings": settings, "changed": changed})


def load_model(by: Agent, model: ModelIdentity) -> Entry:
    """A model, with its adapter, is ready to answer."""
    digest = digest_model(model)
    return Entry(
        agent=by.name,
        role=by.role,
        action=Action.LOAD_MODEL,
        subject=digest,
        model=digest,
        entity={"model": asdict(model)},
    )


def open_study(by: Agent, study: Study, *, patient: str | None, options: Mapping[str, JSON]) -> Entry:
    """A study was read; `options` say how, without its path."""
    entity: dict[str, JSON] = {
        "images": len(study.images),
        "warnings": [notice.code for notice in study.warnings],
        **options,
    }
    return _did(
        by,
        Action.OPEN_STUDY,
        study.study_instance_uid,
        entity,
        study=study.study_instance_uid,
        patient=patient,
    )


def ask(by: Agent, request: Request, *, heatmap: str | None) -> Entry:
    """A question is about to be put to the model."""
    described = describe_request(request.image, request.question, request.model)
    entity = {name: described[name] for name in ("question", "image", "modality")}
    return _about(by, request, Action.ASK, {**entity, "heatmap": heatmap})


def answer(by: Agent, request: Request, came: Outcome) -> Entry:
    """An answer was given, with all that is needed to compute it again."""
    described = describe_request(request.image, request.question, request.model)
    entity = {**described, **describe_answer(came)}
    return _about(by, request, Action.ANSWER, entity, checks=came.checks)


def recall(by: Agent, answered: Event) -> Entry:
    """An answer that was given before is about to be shown again; the model is not asked."""
    return _following(by, answered, Action.RECALL, {})


def prompt(by: Agent, spoken: Prompt) -> Entry:
    """Words are about to be put to the model without an image."""
    return _spoken(by, Action.PROMPT, spoken, {"prompt": spoken.words})


def reply(by: Agent, spoken: Prompt, came: Generation | str) -> Entry:
    """What the model said to words alone, or the reason why it said nothing."""
    entity: dict[str, Any] = {"prompt": spoken.words, "model": asdict(spoken.model)}
    if isinstance(came, str):
        return _spoken(by, Action.REPLY, spoken, {**entity, "reason": came}, outcome="refused")
    entity |= {"reply": came.text, "token_ids": list(came.token_ids)}
    entity["prompt_sha256"] = digest_tokens(came.prompt_token_ids)
    return _spoken(by, Action.REPLY, spoken, entity)


def refuse(by: Agent, request: Request, *, reason: str) -> Entry:
    """The gate or the model refused the question, for a reason that names no file."""
    described = describe_request(request.image, request.question, request.model)
    return _about(by, request, Action.REFUSE, {**described, "reason": reason}, outcome="refused")


def fail(by: Agent, request: Request, error: Exception) -> Entry:
    """No answer came: the model broke off. Of the error its kind alone, for its text may quote anything."""
    described = describe_request(request.image, request.question, request.model)
    entity = {**described, "error": type(error).__name__}
    return _about(by, request, Action.ANSWER, entity, outcome="failed")


def fail_to_decode(
    by: Agent, study: Study, *, patient: str | None, question: str, image_number: int, error: Exception
) -> Entry:
    """A question went nowhere, for the image cannot be decoded. The error's text would name a file."""
    return Entry(
        agent=by.name,
        role=by.role,
        action=Action.REFUSE,
        subject=study.study_instance_uid,
        outcome="failed",
        patient=patient,
        study=study.study_instance_uid,
        entity={"question": question, "image_number": image_number, "error": type(error).__name__},
    )


def explain(by: Agent, request: Request, heatmap: Heatmap) -> Entry:
    """A heatmap was made for an answer."""
    entity = {"image": asdict(request.image.ref), "heatmap": _describe_heatmap(heatmap)}
    return _about(by, request, Action.EXPLAIN, entity)


def agree(
    by: Agent, answers: Sequence[Answer], *, joint_id: str, text: str, agreement: float, verdict: Verdict
) -> Entry:
    """Several models were asked the same; `text` is what most of them say."""
    said = [
        {"answer_id": one.answer_id, "sequence": one.audit_id, "model": digest_model(one.model)}
        for one in answers
    ]
    entity = {"answers": said, "answer": text, "agreement": agreement}
    study = answers[0].image.study_instance_uid
    return _did(by, Action.AGREE, joint_id, entity, study=study, verdict=verdict)


def first_read(by: Agent, answered: Event, *, entity: Mapping[str, JSON]) -> Entry:
    """A person answered before the model's answer was shown, or skipped that."""
    return _following(by, answered, Action.FIRST_READ, entity)


def review(by: Agent, answered: Event, *, verdict: ReviewVerdict, entity: Mapping[str, JSON]) -> Entry:
    """A person agreed with a recorded answer, amended or rejected it."""
    return _following(by, answered, Action.REVIEW, entity, verdict=verdict)


def sign(by: Agent, answered: Event, *, entity: Mapping[str, JSON]) -> Entry:
    """A person signed what was reviewed of a recorded answer."""
    return _following(by, answered, Action.SIGN, entity)


def add_addendum(by: Agent, answered: Event, *, entity: Mapping[str, JSON]) -> Entry:
    """A person added to what was signed."""
    return _following(by, answered, Action.ADDENDUM, entity)


def index(by: Agent, *, study: str, patient: str | None, model: str, entity: Mapping[str, JSON]) -> Entry:
    """Images of a study are about to be added to an index of earlier cases, or taken out of it."""
    return Entry(
        agent=by.name,
        role=by.role,
        action=Action.INDEX,
        subject=study,
        patient=patient,
        study=study,
        model=model,
        entity=entity,
    )


def find_similar(
    by: Agent,
    lookup: Lookup,
    *,
    study: str | None,
    patient: str | None,
    entity: Mapping[str, JSON],
    refused: bool = False,
) -> Entry:
    """Cases were looked up for a study, or one is about to be shown: then `study` and `patient` are its."""
    return Entry(
        agent=by.name,
        role=by.role,
        action=Action.FIND_SIMILAR,
        subject=lookup.name,
        outcome="refused" if refused else "success",
        patient=patient,
        study=study,
        model=lookup.model,
        entity={"index": lookup.index, **entity},
    )


def practise(by: Agent, *, subject: str, verdict: ReviewVerdict, entity: Mapping[str, JSON]) -> Entry:
    """A person judged an exercise, whose answer may have been planted wrong."""
    return _did(by, Action.PRACTICE, subject, entity, verdict=verdict)


def switch(by: Agent, action: Action, *, subject: str, study: str | None, reason: str) -> Entry:
    """A person stopped answering or let it go on, about one study or all."""
    return _did(by, action, subject, {"reason": reason}, study=study)


def report(by: Agent, *, sha256: str, answers: Sequence[str]) -> Entry:
    """A report about these answers, a file of that SHA-256, is about to be written."""
    return _did(by, Action.REPORT, sha256, {"sha256": sha256, "answers": list(answers)})


def report_study(by: Agent, *, study: str, patient: str | None, entity: Mapping[str, JSON]) -> Entry:
    """A report about a study is about to leave; `entity` says in what form, with what digest."""
    return _did(by, Action.REPORT, study, entity, study=study, patient=patient)


def find_studies(by: Agent, *, pacs: str, patient: str | None, entity: Mapping[str, JSON]) -> Entry:
    """A PACS is about to be asked which studies it has; `entity` says by what, without the values."""
    return _did(by, Action.FIND_STUDIES, pacs, entity, patient=patient)


def transfer(
    by: Agent,
    action: Action,
    *,
    study: str,
    patient: str | None,
    entity: Mapping[str, JSON],
    failed: bool = False,
) -> Entry:
    """Instances of a study are about to come in or leave, or did; `entity` says which, whence or where."""
    return Entry(
        agent=by.name,
        role=by.role,
        action=action,
        subject=study,
        outcome="failed" if failed else "success",
        patient=patient,
        study=study,
        entity=entity,
    )


def export(by: Agent, answered: Event, *, files: Mapping[str, str]) -> Entry:
    """Files about an answer are about to be written; `files` holds the SHA-256 of each by its ending."""
    return _following(by, answered, Action.EXPORT, {"files": dict(files)})


def deidentify(by: Agent, *, run: str, study: str, entity: Mapping[str, JSON]) -> Entry:
    """A de-identified copy of a study is about to be written; `entity` has the digest of its report.

    Neither the patient nor a new UID is in it, so that the trail is no way back from the copy.
    """
    return _did(by, Action.DEIDENTIFY, run, entity, study=study)


def export_study(by: Agent, *, study: str, patient: str | None, entity: Mapping[str, JSON]) -> Entry:
    """Objects about a study are about to leave; `entity` says which, with what digests, and whither."""
    return _did(by, Action.EXPORT, study, entity, study=study, patient=patient)


def replay(by: Agent, answered: Event, *, entity: Mapping[str, JSON]) -> Entry:
    """A recorded answer was computed again; `entity` says what differed."""
    return _following(by, answered, Action.REPLAY, entity)


def read_trail(by: Agent, *, command: str, entity: Mapping[str, JSON]) -> Entry:
    """Somebody looks into the trail, or verifies it; `entity` says what was looked for."""
    return _did(by, Action.READ_TRAIL, "trail", {"command": command, **entity})


def export_trail(by: Agent, *, entity: Mapping[str, JSON]) -> Entry:
    """Events of the trail are about to leave it; `entity` says which, in what form, with what digest."""
    return _did(by, Action.EXPORT, "trail", {"command": "export", **entity})


def describe_request(image: Image, question: str, model: ModelIdentity) -> dict[str, Any]:
    """What was asked, of which pixels, of which model."""
    return {
        "question": question,
        "image": describe_image(image),
        "modality": image.modality,
        "applied": [asdict(step) for step in image.applied],
        "model": asdict(model),
    }


def describe_image(image: Image) -> dict[str, Any]:
    """Which image, and of what size."""
    return {**asdict(image.ref), "rows": image.shape[0], "columns": image.shape[1]}


def describe_answer(came: Outcome) -> dict[str, Any]:
    """What came of it; `prompt` pins what the model was given, by `medvqa.digests.digest_tokens`."""
    return {
        "prompt": {
            "tokens": len(came.generation.prompt_token_ids),
            "token_sha256": digest_tokens(came.generation.prompt_token_ids),
        },
        "batch_size": came.together,
        "answer": came.generation.text,
        "tokens": [asdict(token) for token in came.generation.tokens],
        "token_ids": list(came.generation.token_ids),
        "checks_version": CHECKS_VERSION,
        "checks": _describe_checks(came.checks),
        "heatmap": None if came.heatmap is None else _describe_heatmap(came.heatmap),
        "warnings": [notice.code for notice in came.warnings],
    }


def heatmap_sha256(heatmap: Heatmap) -> str:
    """Digest of the map's values: little-endian float32 in reading order, after `rows x columns` as text."""
    rows, columns = heatmap.values.shape
    return hashlib.sha256(f"{rows}x{columns}".encode() + heatmap.values.astype("<f4").tobytes()).hexdigest()


def _describe_checks(checks: Checks) -> dict[str, Any]:
    """Every number, as JSON gives it back."""
    described = asdict(checks)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in described.items()}


def _describe_heatmap(heatmap: Heatmap) -> dict[str, Any]:
    return {
        "method": heatmap.method,
        "explained": heatmap.explained,
        "part": heatmap.part,
        "grid": list(heatmap.grid),
        "convergence_delta": heatmap.convergence_delta,
        "grade": None if heatmap.grade is None else _describe_grade(heatmap.grade),
        "sha256": heatmap_sha256(heatmap),
    }


def _describe_grade(grade: HeatmapGrade) -> dict[str, Any]:
    return {
        "level": grade.level,
        "beaten": grade.beaten,
        "deletion_auc": grade.curves.deletion_auc,
        "insertion_auc": grade.curves.insertion_auc,
        "infidelity": grade.infidelity,
        "randomisation": grade.randomisation,
    }


def _did(
    by: Agent,
    action: Action,
    subject: str,
    entity: Mapping[str, JSON],
    *,
    study: str | None = None,
    patient: str | None = None,
    verdict: str | None = None,
) -> Entry:
    """An event that is about no one answer."""
    return Entry(
        agent=by.name,
        role=by.role,
        action=action,
        subject=subject,
        study=study,
        patient=patient,
        verdict=verdict,
        entity=entity,
    )


def _spoken(
    by: Agent,
    action: Action,
    spoken: Prompt,
    entity: Mapping[str, JSON],
    *,
    outcome: types.Outcome = "success",
) -> Entry:
    """An event about words without an image."""
    return Entry(
        agent=by.name,
        role=by.role,
        action=action,
        subject=spoken.reply_id,
        outcome=outcome,
        model=digest_model(spoken.model),
        entity=entity,
    )


def _about(
    by: Agent,
    request: Request,
    action: Action,
    entity: Mapping[str, JSON],
    *,
    checks: Checks | None = None,
    outcome: types.Outcome = "success",
) -> Entry:
    return Entry(
        agent=by.name,
        role=by.role,
        action=action,
        subject=request.answer_id,
        outcome=outcome,
        patient=request.patient,
        study=request.image.ref.study_instance_uid,
        model=digest_model(request.model),
        verdict=None if checks is None else checks.verdict,
        confidence=None if checks is None else checks.confidence,
        entity=entity,
    )


def _following(
    by: Agent,
    answered: Event,
    action: Action,
    entity: Mapping[str, JSON],
    *,
    verdict: str | None = None,
) -> Entry:
    """An event about a recorded answer, bound to it by row and leaf hash (21 CFR 11.70)."""
    return Entry(
        agent=by.name,
        role=by.role,
        action=action,
        subject=answered.subject,
        patient=answered.patient,
        study=answered.study,
        model=answered.model,
        verdict=verdict,
        entity={"answer": {"sequence": answered.sequence, "hash": answered.hash}, **entity},
    )
