"""The image of a recorded answer, found again in a study and shown as it was shown then."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from medvqa.dicom.instances import Instance, read_instance
from medvqa.dicom.pixels import decode_frame, open_instance
from medvqa.dicom.sources import DEFAULT_LIMITS, UNREADABLE, Source, find_sources
from medvqa.errors import DicomError, LimitError, PixelError
from medvqa.imaging.transforms import ExcludePadding, FillBlack, Invert, ScaleRange, VoiLut, VoiWindow, record
from medvqa.raster import is_raster, read_raster
from medvqa.replay.differences import Difference
from medvqa.types import Applied, Frame, Image

PRESENTED_BY: Mapping[str, type[Any]] = MappingProxyType(
    {
        "exclude_padding": ExcludePadding,
        "voi_window": VoiWindow,
        "voi_lut": VoiLut,
        "scale_range": ScaleRange,
        "invert": Invert,
        "fill_black": FillBlack,
    }
)
"""Transforms of presentation by the names under which `medvqa.imaging` records them."""


def recreate_image(
    study: Path, reference: Mapping[str, Any], applied: Sequence[Mapping[str, Any]]
) -> tuple[Image | None, list[Difference]]:
    """Find the frame that a row names, and apply the transforms that the row lists, with their parameters.

    Args:
        study: A file, a folder or a ZIP archive.
        reference: `ImageRef` as the row has it.
        applied: Every `Applied`, decoding first.

    Returns:
        The image, and what differs although it could be made: the file's digest. None where it could not be
        made, and why.

    Raises:
        DicomError: If nothing can be read at `study`.
    """
    pinned = reference["pixel_sha256"]
    try:
        frame = _find_frame(study, reference)
    except PixelError as error:
        return None, [Difference(what="pixels", recorded=pinned, found=None, note=str(error))]
    if frame is None:
        name = f"{reference['sop_instance_uid']} frame {reference['frame_number']}"
        return None, [Difference(what="image", recorded=name, found=None, note="the study does not hold it")]
    if frame.ref.pixel_sha256 != pinned:
        note = "SHA-256 of the stored pixels"
        found = frame.ref.pixel_sha256
        return None, [Difference(what="pixels", recorded=pinned, found=found, note=note)]
    made = present_as_recorded(frame, applied)
    if isinstance(made, Difference):
        return None, [made]
    if frame.ref.file_sha256 == reference["file_sha256"]:
        return made, []
    note = "SHA-256 of the file; its pixels are those recorded"
    found = frame.ref.file_sha256
    return made, [Difference(what="file", recorded=reference["file_sha256"], found=found, note=note)]


def _find_frame(study: Path, reference: Mapping[str, Any]) -> Frame | None:
    """The frame by its UID and number; of several copies the one with the pixels that were recorded."""
    kept: Frame | None = None
    broken: PixelError | None = None
    for source, number in _copies(study, reference):
        try:
            frame = _decode(source, number)
        except PixelError as error:
            broken = error
            continue
        if frame.ref.pixel_sha256 == reference["pixel_sha256"]:
            return frame
        kept = kept or frame
    if kept is None and broken is not None:
        raise broken
    return kept


def _copies(study: Path, reference: Mapping[str, Any]) -> Iterator[tuple[Instance | Frame, int]]:
    uid, number = reference["sop_instance_uid"], reference["frame_number"]
    try:
        sources, _ = find_sources(study, limits=DEFAULT_LIMITS)
    except OSError as error:
        raise DicomError(f"{study.name or study} cannot be opened; check that you may read it") from error
    for source in sources:
        # A file that cannot be read is not the one: whether the image is there is all that is asked.
        with suppress(PixelError, LimitError, *UNREADABLE):
            found = _read(source)
            if isinstance(found, Frame) and found.ref.sop_instance_uid == uid and number == 1:
                yield found, 1
            if isinstance(found, Instance) and found.sop_instance_uid == uid and number <= len(found.places):
                yield found, number


def _read(source: Source) -> Instance | Frame | None:
    with source.open(limits=DEFAULT_LIMITS) as stream:
        is_picture = is_raster(stream.read(8))
        stream.seek(0)
        if is_picture:
            return read_raster(stream.read(), name=source.name)
        found = read_instance(source, stream, limits=DEFAULT_LIMITS)
    return found if isinstance(found, Instance) else None


def _decode(found: Instance | Frame, number: int) -> Frame:
    return (
        found
        if isinstance(found, Frame)
        else decode_frame(open_instance(found, limits=DEFAULT_LIMITS), number)
    )


def present_as_recorded(frame: Frame, applied: Sequence[Mapping[str, Any]]) -> Image | Difference:
    """Apply the recorded steps of presentation; those of decoding must be the ones that the file asks for.

    Args:
        frame: As the file has it.
        applied: Every `Applied` that a row lists, decoding first.

    Returns:
        The image as it was shown then; or the first step that cannot be taken again.
    """
    decoded = [_plain(step) for step in frame.applied]
    for place, step in enumerate(decoded):
        if place >= len(applied) or applied[place] != step:
            return _transform(applied[place] if place < len(applied) else None, step)
    values: Any = frame.values
    steps = list(frame.applied)
    for recorded in applied[len(decoded) :]:
        try:
            step = _rebuild(recorded, frame)
            with np.errstate(over="ignore", invalid="ignore"):
                values = step(values)
        except (KeyError, TypeError, ValueError):
            return _transform(recorded, None)
        told = record(step)
        if _plain(told) != recorded:
            return _transform(recorded, _plain(told))
        steps.append(told)
    pixels = np.ascontiguousarray(values, dtype=np.float32)
    pixels.setflags(write=False)
    return Image(
        ref=frame.ref,
        pixels=pixels,
        modality=frame.modality,
        pixel_spacing_mm=frame.pixel_spacing_mm,
        orientation=frame.orientation,
        position=frame.position,
        applied=tuple(steps),
    )


def _rebuild(recorded: Mapping[str, Any], frame: Frame) -> Any:
    kind = PRESENTED_BY[recorded["name"]]
    if kind is not VoiLut:
        return kind(**recorded["parameters"])
    # The row pins a table of the file by its digest.
    if frame.voi_lut is None:
        raise KeyError("VOILUTSequence")
    lut = frame.voi_lut
    return VoiLut(first_mapped=lut.first_mapped, bits=lut.bits, entries=lut.entries)


def _transform(recorded: Mapping[str, Any] | None, found: Mapping[str, Any] | None) -> Difference:
    known = recorded or found or {}
    note = None if found else "this version cannot apply the recorded transform to this file"
    what = f"transform {known.get('name')}"
    return Difference(what=what, recorded=_write(recorded), found=_write(found), note=note)


def _plain(step: Applied) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(step)))


def _write(step: Mapping[str, Any] | None) -> str | None:
    return None if step is None else json.dumps(step["parameters"], ensure_ascii=False, sort_keys=True)
