"""Studies of a batch that are in a PACS: found by a query, and each fetched when its turn comes.

This alone needs `medvqa[pacs]`, and is imported where a batch has such studies.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from medvqa.batch.preparing import FailedStudy
from medvqa.batch.sources import PACS, StudySource
from medvqa.batch.steps import step
from medvqa.errors import BatchError, DicomError, PacsError
from medvqa.pacs.finding import find
from medvqa.pacs.pulling import pull
from medvqa.pacs.queries import DEFAULT_LIMIT, StudyQuery
from medvqa.pacs_nodes import PacsNode, named_node

if TYPE_CHECKING:
    from pathlib import Path

    from medvqa.batch.steps import Place
    from medvqa.sessions import Session
    from medvqa.settings import Settings

_ATTRIBUTES = {
    "study-uid": "study_instance_uid",
    "patient-id": "patient_id",
    "accession": "accession_number",
    "date": "study_date",
    "modality": "modality",
}
"""What a query may say, as options of `medvqa pull`, and the field of `StudyQuery`."""


def find_in_pacs(session: Session, settings: Settings, query: str) -> list[StudySource]:
    """The studies that a PACS names.

    Args:
        session: Who asks; that is recorded.
        settings: With the node.
        query: `pacs:NODE?modality=MR&date=20260101-20260131`: which studies, as `medvqa pull` has it.

    Raises:
        BatchError: If the query says what is not understood, restricts nothing, or finds nothing.
        PacsError: If there is no such node, or it cannot be reached or refuses.
        RecordError: If the trail did not take it; then nothing was asked.
    """
    name, _, asked = query.removeprefix(PACS).partition("?")
    said = dict(parse_qsl(asked, keep_blank_values=True))
    limit = said.pop("limit", str(DEFAULT_LIMIT))
    unknown = said.keys() - _ATTRIBUTES.keys()
    if unknown or not said or not limit.isdecimal():
        raise BatchError(
            f"a query of a PACS is pacs:NODE?NAME=VALUE&..., with one or more of {', '.join(_ATTRIBUTES)}, "
            "and limit where wanted"
        )
    given: dict[str, Any] = {_ATTRIBUTES[key]: value for key, value in said.items()}
    found = find(session, named_node(settings.pacs, name), StudyQuery(**given, limit=int(limit)))
    if not found:
        raise BatchError(f"the PACS {name} has no study to which all of the query applies")
    return [StudySource(paths=(), study_instance_uid=one.study_instance_uid, node=name) for one in found]


@step
def fetch(source: StudySource, place: Place) -> StudySource | FailedStudy:
    """Fetch a study that is in a PACS, before it is read; any other passes through."""
    if source.node is None or source.study_instance_uid is None:
        return source
    node = named_node(place.batch.settings.pacs, source.node)
    return _fetch(place.session, node, source, place.folder.incoming)


def _fetch(session: Session, node: PacsNode, source: StudySource, folder: Path) -> StudySource | FailedStudy:
    query = StudyQuery(study_instance_uid=source.study_instance_uid)
    try:
        pulled = next(pull(session, node, query, folder), None)
    except (PacsError, DicomError) as error:
        return FailedStudy(source=source, reason=str(error))
    if pulled is None or pulled.missing:
        shutil.rmtree(folder / str(source.study_instance_uid), ignore_errors=True)
        reason = f"the PACS {node.name} did not send all of it; repeat the command in a new folder"
        return FailedStudy(source=source, reason=reason)
    return replace(source, paths=(pulled.folder,))
