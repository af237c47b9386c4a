"""Taking one instance: recorded, within limits, and on the disk before the caller is told that it was."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from audit import AuditError
from audit.actions import Action
from medvqa import records
from medvqa.errors import PacsError, RecordError
from medvqa.pacs.exchange import NOT_UNDERSTOOD, OUT_OF_RESOURCES, SUCCESS
from medvqa.pacs.instances import describe_bytes, keep
from medvqa.pseudonyms import pseudonym

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from audit import JSON
    from medvqa.dicom.sources import Limits
    from medvqa.listening.arrivals import Arrivals
    from medvqa.listening.inbox import Inbox
    from medvqa.pacs.instances import Instance
    from medvqa.pacs.receiving import Caller
    from medvqa.sessions import Session

log = logging.getLogger("medvqa.listening")


@dataclass(slots=True, kw_only=True)
class _Delivered:
    """What one association brought of one study."""

    patient: str | None
    """Pseudonym."""
    digests: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True, kw_only=True)
class Intake:
    """Takes instances for an inbox; several associations may bring some at once."""

    session: Session
    inbox: Inbox
    arrivals: Arrivals
    limits: Limits
    _brought: dict[tuple[Caller, str], _Delivered] = field(
        default_factory=dict[tuple["Caller", str], _Delivered]
    )
    _held: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Files and bytes of each study that something came of."""
    _lock: Lock = field(default_factory=Lock)

    def take(self, content: bytes, caller: Caller) -> int:
        """Keep an instance; see `medvqa.pacs.receiving.KeepFrom`.

        Returns:
            Success; cannot understand (C000) for what is no DICOM with usable UIDs; out of resources (A700)
            where the limits, the disk or the trail take no more.
        """
        try:
            instance = describe_bytes(content)
        except PacsError as problem:
            log.warning("an instance from %r was not taken: it %s", caller.aet, problem)
            return NOT_UNDERSTOOD
        study, uid = instance.study_instance_uid, instance.sop_instance_uid
        if self.inbox.path_of_result(study, uid).exists():
            # A PACS may forward to us what we sent it: answering that would never end.
            return SUCCESS
        path = self.inbox.place(study) / f"{uid}.dcm"
        with self._lock:
            return self._keep(content, instance, path, caller)

    def ended(self, caller: Caller) -> None:
        """Record what an association brought, once it is over."""
        self.arrivals.ended(caller)
        with self._lock:
            over = [key for key in self._brought if key[0] == caller]
            brought = {study: self._brought.pop((caller, study)) for _, study in over}
        for study, delivered in brought.items():
            log.info("study %s: %d instances came from %r", study, len(delivered.digests), caller.aet)
            entity = {"caller": caller.aet, "instances": dict(delivered.digests)}
            try:
                self._record(Action.RECEIVE, study, delivered.patient, entity)
            except (RecordError, AuditError) as error:
                log.error("study %s: what came of it could not be recorded: %s", study, error)

    def _keep(self, content: bytes, instance: Instance, path: Path, caller: Caller) -> int:
        study = instance.study_instance_uid
        if path.exists():
            return SUCCESS  # the first one stays: answers may rest on it
        files, total = self._held.get(study) or _measure(path.parent)
        held = files + 1, total + len(content)
        if held[0] > self.limits.files or held[1] > self.limits.archive_bytes:
            log.warning("study %s: an instance was not taken, for the study is over the limits", study)
            return OUT_OF_RESOURCES
        try:
            delivered = self._begin(instance, caller)
            keep(content, path)
        except (RecordError, AuditError) as error:
            log.error("study %s: an instance was not taken: %s", study, error)
            return OUT_OF_RESOURCES
        except OSError as error:
            log.error("study %s: an instance was not taken, for the disk fails: %s", study, error.strerror)
            return OUT_OF_RESOURCES
        self._held[study] = held
        delivered.digests[instance.sop_instance_uid] = instance.sha256
        self.arrivals.came(study, caller)
        return SUCCESS

    def _begin(self, instance: Instance, caller: Caller) -> _Delivered:
        """Record that a study comes in, before its first instance of an association is kept."""
        study = instance.study_instance_uid
        if (caller, study) not in self._brought:
            identity = instance.patient
            patient = None if identity is None else pseudonym(self.session.key, *identity.reveal())
            self._record(Action.RETRIEVE, study, patient, {"caller": caller.aet})
            self._brought[caller, study] = _Delivered(patient=patient)
        return self._brought[caller, study]

    def _record(self, action: Action, study: str, patient: str | None, entity: Mapping[str, JSON]) -> None:
        entry = records.transfer(self.session.agent, action, study=study, patient=patient, entity=entity)
        records.record(self.session.log, entry)


def _measure(place: Path) -> tuple[int, int]:
    """Files and bytes of a study that lies there from an earlier run."""
    sizes = [path.stat().st_size for path in place.glob("*.dcm")]
    return len(sizes), sum(sizes)
