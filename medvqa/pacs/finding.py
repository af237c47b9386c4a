"""Finding studies in a PACS, whichever way it is spoken to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medvqa import records
from medvqa.dicom.sources import DEFAULT_LIMITS, Limits
from medvqa.pacs import dicomweb, dimse
from medvqa.pacs_nodes import DicomwebNode
from medvqa.pseudonyms import pseudonym

if TYPE_CHECKING:
    from medvqa.pacs.queries import FoundInstance, FoundStudy, StudyQuery
    from medvqa.pacs_nodes import PacsNode
    from medvqa.sessions import Session


def find(
    session: Session, node: PacsNode, query: StudyQuery, *, limits: Limits = DEFAULT_LIMITS
) -> list[FoundStudy]:
    """Ask a PACS which studies it has; that is recorded first, by which attributes but not their values.

    Returns:
        At most `query.limit`, in the order of the PACS; what was not asked for is left out.

    Raises:
        PacsError: If the PACS cannot be reached, refuses, or answers with what cannot be read.
        RecordError: If the trail did not take the event; then nothing was asked.
    """
    patient = None if query.patient_id is None else pseudonym(session.key, query.patient_id.strip())
    entity = {"restricted_by": list(query.restricted_by), "modality": query.modality, "limit": query.limit}
    records.record(
        session.log, records.find_studies(session.agent, pacs=node.name, patient=patient, entity=entity)
    )
    if isinstance(node, DicomwebNode):
        return dicomweb.find_studies(node, query, limits=limits)
    return dimse.find_studies(node, query, limits=limits)


def find_instances(node: PacsNode, study: str, *, limits: Limits) -> list[FoundInstance]:
    """Ask a PACS which instances a study has; at most a few more than `limits.files`."""
    if isinstance(node, DicomwebNode):
        return dicomweb.find_instances(node, study, limits=limits)
    return dimse.find_instances(node, study, limits=limits)
