"""Which studies a batch is about: from files, folders, archives and lists."""

from __future__ import annotations

import csv
import hashlib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medvqa.dicom.headers import may_be_dicom, read_study_uid
from medvqa.dicom.sources import DEFAULT_LIMITS, UNREADABLE, Limits, Source, find_sources
from medvqa.errors import BatchError, DicomError
from medvqa.raster import is_raster

PACS = "pacs:"
"""What a query of a PACS begins with, see `medvqa.batch.fetching`."""
LISTED = "study"
"""Column of a list that names a file, folder or archive; `study_uid` may name a study in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySource:
    """Where one study of a batch is."""

    paths: tuple[Path, ...]
    """Files, folders or archives that hold it, and perhaps others; none before it is fetched."""
    study_instance_uid: str | None
    """None where that is told only by reading it."""
    node: str | None = None
    """Name of the PACS that it is fetched from."""

    @property
    def name(self) -> str:
        """What a person knows it by: the first of its paths, or where in a PACS it is."""
        return str(self.paths[0]) if self.node is None else f"{PACS}{self.node} {self.study_instance_uid}"

    @property
    def key(self) -> str:
        """Names it in the folder of a batch: the same for the same study, wherever its files lie."""
        known = self.study_instance_uid or "\0".join(map(str, self.paths))
        return hashlib.sha256(known.encode("utf-8", "surrogateescape")).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What lies at the paths that were given."""

    studies: tuple[StudySource, ...]
    """In order of the paths, each study once; what cannot be read is among them, and will say so."""
    left_out: int
    """Files beside studies that belong to none."""


def find_studies(paths: Sequence[Path], *, limits: Limits = DEFAULT_LIMITS) -> Found:
    """Sort files into studies by Study Instance UID (0020,000D), wherever they lie.

    Args:
        paths: DICOM, PNG and JPEG files, folders (searched through), ZIP archives, and lists: CSV files with
            a column `study` that names one of these, relative to the list, and where wanted `study_uid`.
        limits: How large each of them may be.

    Raises:
        BatchError: If a list cannot be read or lacks its column, or nothing was found.
    """
    files: dict[str, dict[Path, None]] = {}
    alone: list[StudySource] = []
    left_out = 0
    for path, uid in _expand(paths):
        if uid is not None:
            files.setdefault(uid, {})[path] = None
            continue
        try:
            sorted_, others = _sort(path, limits=limits)
        except (DicomError, OSError):
            sorted_, others = {}, []
        for found, at in sorted_.items():
            files.setdefault(found, {}).update(dict.fromkeys(at))
        pictures = [] if sorted_ else [other for other in others if is_raster(other)]
        alone += [StudySource(paths=(picture,), study_instance_uid=None) for picture in pictures]
        if sorted_ or pictures:
            left_out += len(others) - len(pictures)
        else:
            alone.append(StudySource(paths=(path,), study_instance_uid=None))
    studies = [StudySource(paths=tuple(at), study_instance_uid=uid) for uid, at in files.items()]
    if not studies and not alone:
        raise BatchError("there are no studies; name files, folders, ZIP archives or a CSV list")
    return Found(studies=(*studies, *alone), left_out=left_out)


def _expand(paths: Iterable[Path]) -> Iterator[tuple[Path, str | None]]:
    for path in paths:
        if path.suffix.lower() == ".csv":
            yield from _read_list(path)
        else:
            yield path, None


def _read_list(path: Path) -> Iterator[tuple[Path, str | None]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BatchError(f"the list {path} cannot be read; save it as CSV in UTF-8") from error
    for number, row in enumerate(rows, 2):
        named = (row.get(LISTED) or "").strip()
        if not named:
            raise BatchError(
                f"line {number} of {path} names no study; the list needs a column {LISTED!r} that does"
            )
        yield path.parent / named, (row.get("study_uid") or "").strip() or None


def _sort(path: Path, *, limits: Limits) -> tuple[dict[str, list[Path]], list[Path]]:
    """Paths by Study Instance UID, an archive under each of its studies; and files without one."""
    sources, skipped = find_sources(path, limits=limits)
    found: dict[str, list[Path]] = {}
    others = [path / one.name for one in skipped]
    for source in sources:
        uid = _read_uid(source, limits=limits)
        if uid is None:
            others.append(source.path)
        elif source.path not in (at := found.setdefault(uid, [])):
            at.append(source.path)
        if uid is None and source.member is None and source.path != path and zipfile.is_zipfile(source.path):
            others.pop()
            within, without = _sort(source.path, limits=limits)
            others += without
            for one, at in within.items():
                found.setdefault(one, []).extend(at)
    return found, others


def _read_uid(source: Source, *, limits: Limits) -> str | None:
    try:
        with source.open(limits=limits) as stream:
            return read_study_uid(stream) if may_be_dicom(stream) else None
    except UNREADABLE:
        return None
    except Exception:  # pydicom's parser raises whatever a broken file makes of it
        return None
