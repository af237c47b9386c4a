"""Sending files to a PACS: recorded before anything leaves, and what became of each instance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audit.actions import Action
from medvqa import records
from medvqa.dicom.sources import DEFAULT_LIMITS, Limits, find_sources
from medvqa.errors import PacsError
from medvqa.pacs import dicomweb, dimse
from medvqa.pacs.exchange import Delivery, Outgoing
from medvqa.pacs.instances import describe_file
from medvqa.pacs_nodes import DicomwebNode
from medvqa.pseudonyms import pseudonym

if TYPE_CHECKING:
    from medvqa.pacs_nodes import PacsNode
    from medvqa.sessions import Session


def gather(paths: Sequence[Path], *, limits: Limits = DEFAULT_LIMITS) -> tuple[list[Outgoing], int]:
    """Find the DICOM files among files and folders.

    Returns:
        What can be sent, and how many other files lay in the folders.

    Raises:
        PacsError: If a file that was named is none that can be sent, or there is none at all.
        DicomError: If a path does not exist.
        LimitError: If there are more files, or larger ones, than the limits allow.
    """
    found: list[Outgoing] = []
    others = 0
    for path in paths:
        sources, skipped = find_sources(path, limits=limits)
        others += len(skipped)
        for source in sources:
            try:
                if source.archive is not None:
                    raise PacsError("is a ZIP archive; unpack it")
                found.append(Outgoing(path=source.path, instance=describe_file(source.path)))
            except PacsError as problem:
                if not path.is_dir():
                    raise PacsError(f"{path.name} {problem}") from problem
                others += 1
    if not found:
        raise PacsError("there is no DICOM file to send; name files, or folders that hold some")
    return found, others


def push(
    session: Session, node: PacsNode, outgoing: Sequence[Outgoing], *, limits: Limits = DEFAULT_LIMITS
) -> Iterator[Delivery]:
    """Send files to a PACS, study by study, each in the transfer syntax that it has.

    Yields:
        What became of each instance.

    Raises:
        PacsError: If the PACS cannot be reached, refuses, or breaks off.
        RecordError: If the trail did not take an event; then nothing of that study was sent.
    """
    studies: dict[str, list[Outgoing]] = defaultdict(list)
    for one in outgoing:
        studies[one.instance.study_instance_uid].append(one)
    for study, files in studies.items():
        yield from _push_study(session, node, study, files, limits)


def _push_study(
    session: Session, node: PacsNode, study: str, files: Sequence[Outgoing], limits: Limits
) -> Iterator[Delivery]:
    identity = next((one.instance.patient for one in files if one.instance.patient is not None), None)
    patient = None if identity is None else pseudonym(session.key, *identity.reveal())
    digests = {one.instance.sop_instance_uid: one.instance.sha256 for one in files}
    begun = records.transfer(
        session.agent,
        Action.SEND,
        study=study,
        patient=patient,
        entity={"pacs": node.name, "instances": dict(digests)},
    )
    (event,) = records.record(session.log, begun)
    made: list[Delivery] = []
    try:
        for delivery in _store(node, files, limits):
            made.append(delivery)
            yield delivery
    finally:
        outcomes = [one.outcome for one in made]
        ended = records.transfer(
            session.agent,
            Action.DELIVER,
            study=study,
            patient=patient,
            entity={
                "pacs": node.name,
                "send": {"sequence": event.sequence, "hash": event.hash},
                "success": outcomes.count("success"),
                "warning": outcomes.count("warning"),
                "failure": outcomes.count("failure"),
                "not_sent": len(files) - len(made),
                "statuses": {
                    one.instance.sop_instance_uid: f"{one.status:04X}" for one in made if one.status
                },
            },
            failed="failure" in outcomes or len(made) < len(files),
        )
        records.record(session.log, ended)


def _store(node: PacsNode, files: Sequence[Outgoing], limits: Limits) -> Iterator[Delivery]:
    if isinstance(node, DicomwebNode):
        return dicomweb.store(node, files, limits=limits)
    return dimse.store(node, files)
