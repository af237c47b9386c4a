"""The worklist as a table: read once a study, filtered and chosen on the screen."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from medvqa import MedvqaError, Study, read_study
from medvqa.worklist import Listed, find_studies, list_study
from ui.tables import choose_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from medvqa.sessions import Session
    from medvqa.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the worklist."""

    path: Path
    listed: Listed | None
    problem: str = ""
    """Why there is no study, where there is none."""


def list_all(settings: Settings) -> Iterator[Study]:
    """Every study in the folder of the settings that can be read."""
    for path in () if settings.studies is None else find_studies(settings.studies):
        with suppress(MedvqaError):
            yield _read(path, path.stat().st_mtime_ns)


def read_worklist(session: Session, settings: Settings) -> list[Row]:
    """Every study in the folder of the settings; one that cannot be read is listed with the reason."""
    if settings.studies is None:
        return []
    rows: list[Row] = []
    for path in find_studies(settings.studies):
        try:
            study = _read(path, path.stat().st_mtime_ns)
        except MedvqaError as error:
            rows.append(Row(path=path, listed=None, problem=str(error)))
        else:
            rows.append(Row(path=path, listed=list_study(session.log, study)))
    return rows


@st.cache_resource(show_spinner="Reading the studies", max_entries=500)
def _read(path: Path, changed: int) -> Study:  # noqa: ARG001
    """Headers alone; read anew once the file or folder changed."""
    return read_study(path)


def choose_listed(rows: Sequence[Row], session: Session) -> Row | None:
    """Draw filters and table; the row that was chosen, if one was that holds a study."""
    progress, modality = st.columns(2)
    wanted = progress.pills(
        "Progress", ("unread", "in review", "signed"), selection_mode="multi", key="progress"
    )
    kinds = sorted({kind for row in rows if row.listed for kind in row.listed.modalities})
    modalities = modality.pills("Modality", kinds, selection_mode="multi", key="modality")
    shown = [row for row in rows if _matches(row, wanted, modalities)]
    place = choose_line([_line(row, session) for row in shown], key="worklist")
    return None if place is None or shown[place].listed is None else shown[place]


def _matches(row: Row, progress: Sequence[str], modalities: Sequence[str]) -> bool:
    if row.listed is None:
        return not progress and not modalities
    return (not progress or row.listed.progress in progress) and (
        not modalities or bool({*modalities} & {*row.listed.modalities})
    )


def _line(row: Row, session: Session) -> dict[str, Any]:
    if row.listed is None:
        return {"Study": row.problem}
    study = row.listed.study
    return {
        "Study": name_study(study),
        "Patient": session.pseudonym_of(study) or "",
        "Modality": ", ".join(row.listed.modalities),
        "Images": len(study.images),
        "Progress": row.listed.progress,
        "Unsigned answers": row.listed.unsigned,
        "Warnings": ", ".join(notice.code.replace("_", " ") for notice in study.warnings),
    }


def name_study(study: Study) -> str:
    """The study's name on screen: eight digits of a digest of its Study Instance UID (0020,000D)."""
    return hashlib.sha256(study.study_instance_uid.encode()).hexdigest()[:8]
