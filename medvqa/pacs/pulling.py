"""Fetching studies from a PACS into a folder: recorded, within limits, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from audit.actions import Action
from medvqa import records
from medvqa.dicom.sources import DEFAULT_LIMITS, Limits
from medvqa.errors import LimitError, PacsError
from medvqa.pacs import dicomweb, dimse
from medvqa.pacs.exchange import NOT_UNDERSTOOD, NOT_WANTED, OUT_OF_RESOURCES, SUCCESS
from medvqa.pacs.finding import find, find_instances
from medvqa.pacs.instances import describe_bytes, keep
from medvqa.pacs_nodes import DicomwebNode
from medvqa.pseudonyms import pseudonym

if TYPE_CHECKING:
    from medvqa.pacs.queries import FoundInstance, FoundStudy, StudyQuery
    from medvqa.pacs_nodes import PacsNode
    from medvqa.sessions import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """One study after it was fetched."""

    study_instance_uid: str
    folder: Path
    """Holds a file `SOP_INSTANCE_UID.dcm` an instance."""
    fetched: int
    """Instances that came now."""
    kept: int
    """Instances that lay there already."""
    missing: int
    """Instances that the PACS names and did not send."""


def pull(
    session: Session, node: PacsNode, query: StudyQuery, folder: Path, *, limits: Limits = DEFAULT_LIMITS
) -> Iterator[Pulled]:
    """Find studies in a PACS and fetch each into a folder of its own, named by its UID.

    Args:
        session: Who fetches.
        node: Where from.
        query: Which studies.
        folder: Where to; it is made. What lies there already is not fetched again.
        limits: On the files and bytes of a study (`files`, `file_bytes`, `archive_bytes`).

    Yields:
        Each study once all of it is there, or all that the PACS sends.

    Raises:
        PacsError: If the PACS cannot be reached, refuses, or answers with what cannot be read.
        LimitError: If a study is larger than the limits allow.
        RecordError: If the trail did not take an event; then nothing was fetched.
    """
    for study in find(session, node, query, limits=limits):
        yield pull_study(session, node, study, folder, limits=limits)


def pull_study(
    session: Session, node: PacsNode, study: FoundStudy, folder: Path, *, limits: Limits = DEFAULT_LIMITS
) -> Pulled:
    """Fetch one study that `find` found; see `pull`."""
    uid = study.study_instance_uid
    there = find_instances(node, uid, limits=limits)
    if len(there) > limits.files:
        raise LimitError(f"study {uid} has more than {limits.files:,} instances; raise Limits.files")
    place = folder / uid
    wanted = [one for one in there if not (place / f"{one.sop_instance_uid}.dcm").is_file()]
    patient = None if study.patient is None else pseudonym(session.key, *study.patient.reveal())
    came = _Intake(
        study=uid, folder=place, wanted=frozenset(one.sop_instance_uid for one in wanted), limits=limits
    )
    if wanted:
        about = {"pacs": node.name, "wanted": len(wanted)}
        begun = records.transfer(session.agent, Action.RETRIEVE, study=uid, patient=patient, entity=about)
        records.record(session.log, begun)
        try:
            _fetch(node, uid, wanted, came, limits)
        except PacsError:
            if came.problem is None:  # else it failed because we took no more
                raise
        finally:
            entity = {**about, "instances": dict(came.digests), "refused": came.refused}
            ended = records.transfer(
                session.agent,
                Action.RECEIVE,
                study=uid,
                patient=patient,
                entity=entity,
                failed=len(came.digests) < len(wanted),
            )
            records.record(session.log, ended)
        if came.problem is not None:
            raise came.problem
    return Pulled(
        study_instance_uid=uid,
        folder=place,
        fetched=len(came.digests),
        kept=len(there) - len(wanted),
        missing=len(wanted) - len(came.digests),
    )


def _fetch(
    node: PacsNode, study: str, wanted: Sequence[FoundInstance], came: _Intake, limits: Limits
) -> None:
    if isinstance(node, DicomwebNode):
        dicomweb.fetch(node, study, wanted, keep=came.take, limits=limits)
    else:
        dimse.fetch(node, study, wanted, keep=came.take, limits=limits)


@dataclass(slots=True, kw_only=True)
class _Intake:
    """Takes the instances of one study that were asked for, and no other."""

    study: str
    folder: Path
    wanted: frozenset[str]
    limits: Limits
    digests: dict[str, str] = field(default_factory=dict[str, str])
    """SHA-256 of each file by its SOP Instance UID."""
    refused: int = 0
    """What came and is none of them."""
    problem: PacsError | LimitError | None = None
    """Why no more is taken."""
    _bytes: int = 0

    def take(self, content: bytes) -> int:
        """See `medvqa.pacs.exchange.Keep`."""
        if self.problem is not None:
            return OUT_OF_RESOURCES
        self._bytes += len(content)
        if self._bytes > self.limits.archive_bytes:
            self.problem = LimitError(
                f"study {self.study} has more than {self.limits.archive_bytes:,} bytes; raise"
                " Limits.archive_bytes"
            )
            return OUT_OF_RESOURCES
        try:
            instance = describe_bytes(content)
        except PacsError:
            self.refused += 1
            return NOT_UNDERSTOOD
        uid = instance.sop_instance_uid
        if instance.study_instance_uid != self.study or uid not in self.wanted:
            self.refused += 1
            return NOT_WANTED
        try:
            keep(content, self.folder / f"{uid}.dcm")
        except OSError as error:
            self.problem = PacsError(f"{self.folder} cannot be written to: {error.strerror}")
            return OUT_OF_RESOURCES
        self.digests[uid] = instance.sha256
        return SUCCESS
