"""De-identifying studies: read, clean in memory, record, and only then write."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from medvqa import records
from medvqa.deidentification.burned_in import find_text, require_ocr
from medvqa.deidentification.instances import Task, clean_instance
from medvqa.deidentification.options import Option
from medvqa.deidentification.profile import require_table
from medvqa.deidentification.replacements import Replacements
from medvqa.deidentification.report import CleanedInstance, LeftOut, Report
from medvqa.deidentification.sources import Found, find_instances
from medvqa.dicom.sources import DEFAULT_LIMITS, Limits
from medvqa.errors import DeidentificationError
from medvqa.pseudonyms import pseudonym

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from medvqa.dicom.instances import Instance
    from medvqa.sessions import Session

LONGEST_CODE = 64
"""Characters of Patient ID (0010,0020): PS3.5 6.2, LO."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is wanted of de-identification."""

    out: Path
    """Folder of the copies and the report."""
    options: frozenset[Option] = frozenset()
    """Of the profile."""
    patient: str | None = None
    """Code of the one patient; None for the pseudonym by which the trail knows each."""
    map: Path | None = None
    """File of old and new names, the way back; None to write none."""
    limits: Limits = DEFAULT_LIMITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Deidentified:
    """What came of it."""

    report: Report
    report_file: Path
    """The report as text; the same as JSON lies beside it."""
    left_out: tuple[tuple[str, str], ...] = field(repr=False)
    """Name of the source's file, for the person who named its folder alone, and why it was left out."""


def deidentify(
    session: Session,
    paths: Iterable[Path],
    order: Order,
    *,
    on_instance: Callable[[], None] = lambda: None,
) -> Deidentified:
    """Write de-identified copies of studies, with a report of what was done.

    Everything is first done in memory, and recorded with the report's digest. Then it is done again, and
    written where the bytes are the same.

    Args:
        session: Who does it, at which trail; the key of its pseudonyms makes new UIDs, codes and dates.
        paths: Files, folders and ZIP archives, of one or several studies.
        order: What is wanted.
        on_instance: Called once for each instance that was looked through for text.

    Returns:
        The report, and what was left out.

    Raises:
        DeidentificationError: If the extra is not installed, or the order cannot be carried out.
        DicomError: If there is nothing to de-identify, or too much.
        RecordError: If the trail did not take it; then nothing is written.
    """
    require_table()
    require_ocr()
    found = find_instances(paths, limits=order.limits)
    _check(order, found)
    _require_room(session, order, found)
    texts = find_text(found.instances, limits=order.limits, on_instance=on_instance)
    tasks = [
        Task(
            instance=one,
            text=texts[one.sop_instance_uid],
            put=_replacements(session, one, order),
            identifiers=found.identifiers[one.study_instance_uid],
        )
        for one in found.instances
    ]
    cleaned, left_out = _plan(tasks, order)
    left_out += [(one.name, one.sop_instance_uid, one.reason) for one in found.refused]
    report = Report(
        run=str(uuid.uuid4()),
        options=order.options,
        instances=tuple(one for _, one in cleaned),
        left_out=tuple(
            LeftOut(sop_instance_uid=_new_uid(session, uid, order), reason=reason)
            for _, uid, reason in left_out
        ),
        not_dicom=found.not_dicom,
    )
    way_back = None if order.map is None else _describe_map([task for task, _ in cleaned], report)
    _record(session, report, [task.instance.study_instance_uid for task in tasks], way_back=way_back)
    report_file = _write(order, report, cleaned, way_back)
    return Deidentified(
        report=report,
        report_file=report_file,
        left_out=tuple((name, reason) for name, _, reason in left_out),
    )


def _check(order: Order, found: Found) -> None:
    code = order.patient
    if code is not None and not (code.strip() and len(code) <= LONGEST_CODE and code.isprintable()):
        raise DeidentificationError(
            f"a patient's code has 1 to {LONGEST_CODE} printable characters; give another"
        )
    if code is not None and "\\" in code:
        raise DeidentificationError(
            "a patient's code holds no backslash, which separates values; give another"
        )
    if code is not None and len({one.patient for one in found.instances}) > 1:
        raise DeidentificationError(
            "the files are of several patients, who cannot share one code; name one patient's files, "
            "or leave the code out"
        )
    if order.map is not None and order.map.absolute().is_relative_to(order.out.absolute()):
        raise DeidentificationError(
            "the map would lie among the copies that it identifies; name a file outside of the folder --out"
        )
    if order.map is not None and order.map.exists():
        raise DeidentificationError(f"there is a file {order.map.name} already; name another for the map")


def _replacements(session: Session, instance: Instance, order: Order) -> Replacements:
    known = "" if instance.patient is None else pseudonym(session.key, *instance.patient.reveal())
    return Replacements(
        key=session.key,
        code=known if order.patient is None else order.patient,
        subject=known or instance.study_instance_uid,
    )


def _plan(
    tasks: Iterable[Task], order: Order
) -> tuple[list[tuple[Task, CleanedInstance]], list[tuple[str, str | None, str]]]:
    """What becomes of each instance; and of those that cannot be cleaned file name, UID and reason."""
    cleaned: list[tuple[Task, CleanedInstance]] = []
    left_out: list[tuple[str, str | None, str]] = []
    for task in tasks:
        try:
            _, done = clean_instance(task, order.options, limits=order.limits)
        except DeidentificationError as error:
            left_out.append((task.instance.source.name, task.instance.sop_instance_uid, str(error)))
        else:
            cleaned.append((task, done))
    return cleaned, left_out


def _new_uid(session: Session, uid: str | None, order: Order) -> str | None:
    if uid is None or Option.RETAIN_UIDS in order.options:
        return uid
    return Replacements(key=session.key, code="", subject="").new_uid(uid)


def _require_room(session: Session, order: Order, found: Found) -> None:
    for study in {one.study_instance_uid for one in found.instances}:
        copy = _new_uid(session, study, order)
        if (order.out / str(copy)).exists():
            raise DeidentificationError(
                f"{order.out} already holds a copy of this study, {copy}; name another folder, or remove it"
            )


def _record(session: Session, report: Report, studies: Iterable[str], *, way_back: str | None) -> None:
    """Record that copies of the studies are about to be written: neither patients nor new UIDs are in it."""
    entity = {
        "report_sha256": _sha256(report.to_json()),
        "map_sha256": None if way_back is None else _sha256(way_back),
        "options": [str(option) for option in sorted(report.options)],
        "instances": len(report.instances),
        "left_out": len(report.left_out),
        "masked": sum(bool(one.regions) for one in report.instances),
    }
    entries = [
        records.deidentify(session.agent, run=report.run, study=study, entity=entity)
        for study in sorted(set(studies))
    ]
    records.record(session.log, *entries)


def _write(
    order: Order, report: Report, cleaned: Iterable[tuple[Task, CleanedInstance]], way_back: str | None
) -> Path:
    stem = order.out / f"report-{report.run}"
    try:
        order.out.mkdir(parents=True, exist_ok=True)
        stem.with_suffix(".json").write_text(report.to_json(), encoding="utf-8")
        stem.with_suffix(".txt").write_text(report.to_text(), encoding="utf-8")
        for task, planned in cleaned:
            content, done = clean_instance(task, order.options, limits=order.limits)
            if done.sha256 != planned.sha256:
                raise DeidentificationError(
                    f"{task.instance.source.name} changed while it was de-identified; "
                    "begin again, in another folder"
                )
            file = order.out / done.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        if order.map is not None and way_back is not None:
            _write_private(order.map, way_back)
    except OSError as error:
        raise DeidentificationError(
            f"{order.out} cannot be written to: {error.strerror}; remove what is in it, and begin again"
        ) from error
    return stem.with_suffix(".txt")


def _describe_map(tasks: Iterable[Task], report: Report) -> str:
    """The way back: the code of each patient, and the UIDs of each study, series and instance."""
    patients: dict[str, dict[str, str]] = {}
    uids: dict[str, str] = {}
    for task, done in zip(tasks, report.instances, strict=True):
        source = task.instance
        if source.patient is not None:
            patient_id, issuer = source.patient.reveal()
            patients[task.put.code] = {"patient_id": patient_id, "issuer": issuer}
        uids[done.study_instance_uid] = source.study_instance_uid
        uids[done.series_instance_uid] = source.series_instance_uid
        uids[done.sop_instance_uid] = source.sop_instance_uid
    return json.dumps({"patients": patients, "uids": uids}, indent=1) + "\n"


def _write_private(path: Path, text: str) -> None:
    """Write a file that must not exist yet, for its owner alone to read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
