"""Where DICOM files come from: one file, a folder or a ZIP archive, within limits.

Nothing is ever extracted: a ZIP member is read into memory when it is asked for, so its name, however
hostile, names no path on this machine.
"""

from __future__ import annotations

import hashlib
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from medvqa.errors import DicomError, LimitError

# Below this much content a high ratio is a blank image, not a bomb.
ZIP_RATIO_FLOOR_BYTES = 16 << 20
# What opening or reading bytes may raise; RuntimeError is how `zipfile` asks for a password.
UNREADABLE = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large a study may be. A bomb runs into these; no study that we have met does."""

    files: int = 20_000
    """Files in a folder or archive; a whole-body CT has about 2,000."""
    file_bytes: int = 2 << 30
    """Bytes of one file, after decompression where it is a ZIP member or deflated."""
    folder_depth: int = 16
    """Folders inside folders."""
    archive_bytes: int = 16 << 30
    """Bytes of all members of a ZIP, decompressed."""
    archive_ratio: float = 200.0
    """Decompressed over compressed bytes of a ZIP; DICOM files reach about 10."""
    frame_pixels: int = 1 << 26
    """Rows x columns of one frame; a mammogram has about 2 ** 24."""
    frames: int = 20_000
    """Frames of one instance."""
    pixels: int = 1 << 34
    """Rows x columns x frames of one instance."""


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A file that is no image of the study, and why; merged into notices by `medvqa.study`."""

    name: str
    code: str
    """Of the notice: `not_dicom`, `not_an_image`, `broken_file`, ..."""
    reason: str
    """Completes the sentence 'this file was skipped: it ...'."""
    tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file, on disk or in an archive. `name` is relative to the path that the user gave."""

    name: str
    path: Path
    """Of the file, or of the archive that holds it."""
    size: int
    """Bytes, decompressed."""
    member: zipfile.ZipInfo | None = field(default=None, repr=False)
    archive: zipfile.ZipFile | None = field(default=None, repr=False)

    def open(self, *, limits: Limits) -> BinaryIO:
        """Open for reading and seeking: a file on disk as it lies, a ZIP member in memory.

        A deflated data set (PS3.5 A.5) is inflated into memory and then called Explicit VR Little Endian.

        Raises:
            OSError, zlib.error, zipfile.BadZipFile, RuntimeError: If the bytes cannot be had.
            LimitError: If a deflated data set is larger than `limits.file_bytes`.
        """
        if self.archive is not None and self.member is not None:
            stream: BinaryIO = BytesIO(self.archive.read(self.member))
        else:
            stream = self.path.open("rb")
        head = stream.read(512)
        stream.seek(0)
        if head[128:132] == b"DICM" and f"{DeflatedExplicitVRLittleEndian}".encode() in head:
            with stream:
                return BytesIO(_inflate(stream.read(), name=self.name, limits=limits))
        return stream

    def sha256(self) -> str:
        """Digest of the file's bytes as they lie on disk or in the archive (decompressed there), in hex."""
        if self.archive is not None and self.member is not None:
            return hashlib.sha256(self.archive.read(self.member)).hexdigest()
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def find_sources(path: Path, *, limits: Limits) -> tuple[list[Source], list[Skipped]]:
    """List the files at `path`, without opening any.

    Args:
        path: A file, a folder (searched through, symbolic links to folders left alone) or a ZIP archive.
        limits: See `Limits`.

    Returns:
        What can be opened, sorted by name, and what cannot.

    Raises:
        DicomError: If nothing readable lies at `path`.
        LimitError: If there are too many files, folders too deep or too much in an archive.
    """
    if path.is_dir():
        return _within_limits(_folder_files(path, limits=limits), limits=limits)
    if not path.is_file():
        problem = "is neither a file nor a folder" if path.exists() else "does not exist"
        raise DicomError(f"{path.name or path} {problem}; pass a DICOM file, a folder or a ZIP archive")
    if zipfile.is_zipfile(path) and not _is_part10(path):
        return _archive_members(path, limits=limits)
    size = path.stat().st_size
    if size > limits.file_bytes:
        raise LimitError(
            f"{path.name} has {size:,} bytes, more than the limit of {limits.file_bytes:,};"
            " raise Limits.file_bytes if you trust it"
        )
    return [Source(name=path.name, path=path, size=size)], []


def _folder_files(folder: Path, *, limits: Limits) -> Iterator[Source]:
    found = 0
    pending = [(folder, 0)]
    while pending:
        here, depth = pending.pop()
        for entry in sorted(here.iterdir()):
            if entry.is_dir():
                if entry.is_symlink():
                    continue  # it may lead back here, or out of the folder that was given
                if depth >= limits.folder_depth:
                    raise LimitError(
                        f"{folder.name} nests folders deeper than {limits.folder_depth};"
                        " pass the folder that holds the study, or raise Limits.folder_depth"
                    )
                pending.append((entry, depth + 1))
            elif entry.is_file():
                found += 1
                if found > limits.files:
                    raise LimitError(
                        f"{folder.name} holds more than {limits.files:,} files;"
                        " pass one study's folder, or raise Limits.files"
                    )
                name = entry.relative_to(folder).as_posix()
                yield Source(name=name, path=entry, size=entry.stat().st_size)


def _archive_members(path: Path, *, limits: Limits) -> tuple[list[Source], list[Skipped]]:
    try:
        archive = zipfile.ZipFile(path)
    except UNREADABLE as error:
        raise DicomError(f"{path.name} is a damaged ZIP archive; pack it again") from error
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > limits.files:
        raise LimitError(
            f"{path.name} holds {len(members):,} files, more than the limit of {limits.files:,};"
            " pack one study, or raise Limits.files"
        )
    total = sum(member.file_size for member in members)
    if total > limits.archive_bytes:
        raise LimitError(
            f"{path.name} would unpack to {total:,} bytes, more than the limit of {limits.archive_bytes:,};"
            " pack one study, or raise Limits.archive_bytes"
        )
    ratio = total / max(1, path.stat().st_size)
    if total > ZIP_RATIO_FLOOR_BYTES and ratio > limits.archive_ratio:
        raise LimitError(
            f"{path.name} would unpack to {ratio:,.0f} times its size, more than the limit of"
            f" {limits.archive_ratio:,.0f}; unpack it yourself if you trust it, and pass the folder"
        )
    sources = (
        Source(name=member.filename, path=path, size=member.file_size, member=member, archive=archive)
        for member in members
    )
    return _within_limits(sources, limits=limits)


def _within_limits(found: Iterator[Source], *, limits: Limits) -> tuple[list[Source], list[Skipped]]:
    sources: list[Source] = []
    skipped: list[Skipped] = []
    for source in sorted(found, key=lambda source: source.name):
        if source.size <= limits.file_bytes:
            sources.append(source)
            continue
        reason = f"has more bytes than the limit of {limits.file_bytes:,} (Limits.file_bytes)"
        skipped.append(Skipped(name=source.name, code="over_limit", reason=reason))
    return sources, skipped


def _is_part10(path: Path) -> bool:
    # A DICOM file may end in a ZIP (dual-personality files); the preamble decides.
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _inflate(data: bytes, *, name: str, limits: Limits) -> bytes:
    """Rewrite a deflated file as Explicit VR Little Endian, never inflating past the limit."""
    # The File Meta Information opens with its own length, (0002,0000), as an explicit UL: PS3.10 7.1.
    start = 144 + int.from_bytes(data[140:144], "little")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    body = inflater.decompress(data[start:], limits.file_bytes)
    if inflater.unconsumed_tail:
        raise LimitError(
            f"{name} would inflate to more than {limits.file_bytes:,} bytes;"
            " raise Limits.file_bytes if you trust it"
        )
    deflated = f"{DeflatedExplicitVRLittleEndian}".encode()
    plain = f"{ExplicitVRLittleEndian}".encode().ljust(len(deflated), b"\0")
    return data[:start].replace(deflated, plain) + body
