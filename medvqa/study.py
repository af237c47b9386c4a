"""Reading a study: from files, a folder or an archive to images that are decoded when asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import RLock
from typing import TypeAlias, TypeVar, overload

from medvqa import gate, raster
from medvqa.dicom.headers import read_modality
from medvqa.dicom.instances import Instance, place_frames, read_instance
from medvqa.dicom.order import sort_placements
from medvqa.dicom.pixels import decode_frame, open_instance
from medvqa.dicom.sources import DEFAULT_LIMITS, UNREADABLE, Limits, Skipped, Source, find_sources
from medvqa.errors import DicomError, LimitError
from medvqa.imaging import present
from medvqa.types import Frame, ImageRef, Notice, Series, Study, WindowName

__all__ = ["Limits", "read_study"]

# How many names a notice or an error spells out before it only counts.
NAMED_FILES = 3
NAMED_STUDIES = 5

Skipping: TypeAlias = list[Skipped]
T = TypeVar("T")


def read_study(
    path: str | Path | Sequence[Path],
    *,
    window: WindowName | None = None,
    limits: Limits = DEFAULT_LIMITS,
    study_instance_uid: str | None = None,
) -> Study:
    """Read the headers of one study; its images are decoded one by one when they are asked for.

    Args:
        path: A DICOM, PNG or JPEG file, a folder (searched through, other files skipped with a notice), or a
            ZIP archive of the same. Nothing is extracted. Or several of these, which hold one study together.
        window: How to show the images; see `medvqa.imaging.present`.
        limits: How large a study may be.
        study_instance_uid: Which study to take, where there are several.

    Returns:
        The study, its images in geometric order (see `medvqa.dicom.order`), with a notice for whatever was
        skipped, derived or looks odd. Masks, doses and maps are images only where there is nothing else.

    Raises:
        DicomError: If there is no image, or there are several studies and none was named.
        LimitError: If the whole is larger than `limits` allows.
        PixelError: On access to an image whose pixel data are broken.
    """
    paths = [Path(path)] if isinstance(path, str | Path) else list(path)
    path = paths[0]
    sources: list[Source] = []
    skipped: Skipping = []
    for one in paths:
        try:
            found, left_out = find_sources(one, limits=limits)
        except OSError as error:
            raise DicomError(f"{one.name or one} cannot be opened; check that you may read it") from error
        sources += found
        skipped += left_out
    instances, pictures = _read_all(sources, limits=limits, skipped=skipped)
    instances = _without_copies(instances, skipped=skipped)
    if study_instance_uid is not None:
        instances = [one for one in instances if one.study_instance_uid == study_instance_uid]
        pictures = [one for one in pictures if one.ref.study_instance_uid == study_instance_uid]
    instances, pictures = _choose(instances, pictures, skipped=skipped)
    if not instances and not pictures:
        raise DicomError(_nothing_found(path, skipped, study_instance_uid))
    uid = _only_study(path, instances, pictures)
    if instances:
        order = _order(instances)
        frames = _instance_frames(instances, order, limits)
        series = _group((one.series_instance_uid, read_modality(one.first_frame)) for one, _ in order)
    else:
        frames = _picture_frames(pictures, limits)
        series = _group((one.ref.series_instance_uid, "unknown") for one in pictures)
    images = _OnAccess(len(frames), lambda at: present(frames[at], window=window))
    notices = (*_notice_files(instances, pictures), *summarise_skipped(skipped))
    return Study(
        study_instance_uid=uid,
        images=images,
        frames=frames,
        series=series,
        warnings=notices,
        patient=_only(instance.patient for instance in instances),
        deidentified=bool(instances)
        and all(gate.says_deidentified(instance.first_frame) for instance in instances),
        study_date=_only(instance.study_date for instance in instances),
    )


def list_studies(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> tuple[str, ...]:
    """Study Instance UIDs of what lies at a path, each for `read_study`, in order.

    Raises:
        DicomError: If nothing readable lies there.
        LimitError: If the whole is larger than `limits` allows.
    """
    sources, skipped = find_sources(Path(path), limits=limits)
    instances, pictures = _read_all(sources, limits=limits, skipped=skipped)
    found = [one.study_instance_uid for one in instances] + [one.ref.study_instance_uid for one in pictures]
    return tuple(sorted(set(found)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """A PNG or JPEG file, and the reference that its bytes gave it."""

    source: Source
    ref: ImageRef


@dataclass(frozen=True, slots=True, eq=False)
class _OnAccess(Sequence[T]):
    """What is computed when it is asked for; the last one is kept."""

    length: int
    load: Callable[[int], T] = field(repr=False)
    kept: dict[int, T] = field(default_factory=dict[int, T], repr=False)
    lock: RLock = field(default_factory=RLock, repr=False)

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            chosen = range(self.length)[index]
            return _OnAccess(len(chosen), lambda at: self[chosen[at]])
        at = range(self.length)[index]
        # Viewers ask from several threads: what one of them waits for is not computed twice.
        with self.lock:
            if at not in self.kept:
                self.kept.clear()  # let go of the last one before the next one needs its memory
                self.kept[at] = self.load(at)
            return self.kept[at]


def _read_all(
    sources: Iterable[Source], *, limits: Limits, skipped: Skipping
) -> tuple[list[Instance], list[_Picture]]:
    instances: list[Instance] = []
    pictures: list[_Picture] = []
    for source in sources:
        found = _read_file(source, limits=limits)
        if isinstance(found, Skipped):
            skipped.append(found)
        elif isinstance(found, Instance):
            instances.append(found)
        else:
            pictures.append(found)
    return instances, pictures


def _read_file(source: Source, *, limits: Limits) -> Instance | _Picture | Skipped:
    try:
        with source.open(limits=limits) as stream:
            is_picture = raster.is_raster(stream.read(8))
            stream.seek(0)
            if not is_picture:
                return read_instance(source, stream, limits=limits)
            return _Picture(source=source, ref=raster.read_raster(stream.read(), name=source.name).ref)
    except LimitError:
        return Skipped(name=source.name, code="over_limit", reason="unfolds to more than the limits allow")
    except DicomError:
        return Skipped(name=source.name, code="broken_file", reason="is a PNG or JPEG file that is broken")
    except UNREADABLE:
        return Skipped(name=source.name, code="unreadable_file", reason="cannot be read from disk or archive")


def _without_copies(instances: Iterable[Instance], *, skipped: Skipping) -> list[Instance]:
    kept: dict[str, Instance] = {}
    for instance in instances:
        if kept.setdefault(instance.sop_instance_uid, instance) is not instance:
            reason = "is another copy of an instance that was read already"
            skipped.append(
                Skipped(name=instance.source.name, code="copy", reason=reason, tag="(0008,0018)"),
            )
    return list(kept.values())


def _choose(
    instances: list[Instance], pictures: list[_Picture], *, skipped: Skipping
) -> tuple[list[Instance], list[_Picture]]:
    """Take acquired images; failing those, masks, doses and maps; failing those, pictures."""
    acquired = [instance for instance in instances if not instance.derived]
    if acquired:
        for instance in instances:
            if instance.derived:
                reason = "is a mask, dose or map, not an acquired image"
                skipped.append(
                    Skipped(name=instance.source.name, code="not_an_image", reason=reason, tag="(0008,0016)")
                )
        instances = acquired
    if instances:
        reason = "is a PNG or JPEG file beside a DICOM study"
        skipped.extend(
            Skipped(name=picture.source.name, code="not_dicom", reason=reason) for picture in pictures
        )
        pictures = []
    return instances, pictures


def _only_study(path: Path, instances: list[Instance], pictures: list[_Picture]) -> str:
    found = [one.study_instance_uid for one in instances] + [one.ref.study_instance_uid for one in pictures]
    uids = sorted(set(found))
    if len(uids) == 1:
        return uids[0]
    if pictures:
        raise DicomError(
            f"{path.name} holds {len(uids)} PNG or JPEG files, and nothing says that they belong together;"
            " pass one of them"
        )
    listed = ", ".join(uids[:NAMED_STUDIES]) + (", ..." if len(uids) > NAMED_STUDIES else "")
    raise DicomError(
        f"{path.name} holds {len(uids)} studies; pass one study's folder, or one of these as"
        f" study_instance_uid: {listed}"
    )


def _only(stated: Iterable[T | None]) -> T | None:
    """What some files state and none contradicts."""
    found = {one for one in stated if one is not None}
    return found.pop() if len(found) == 1 else None


def _order(instances: Iterable[Instance]) -> list[tuple[Instance, int]]:
    """Every frame, as its instance and its number there, in the order of the study."""
    placements = [placement for instance in instances for placement in place_frames(instance)]
    return [placement.item for placement in sort_placements(placements)]


def _group(images: Iterable[tuple[str, str]]) -> tuple[Series, ...]:
    """Series of images in order, each given as its Series Instance UID and modality."""
    grouped: list[Series] = []
    for place, (uid, modality) in enumerate(images):
        if not grouped or grouped[-1].series_instance_uid != uid:
            grouped.append(Series(series_instance_uid=uid, modality=modality, images=range(place, place)))
        grouped[-1] = replace(grouped[-1], images=range(grouped[-1].images.start, place + 1))
    return tuple(grouped)


def _instance_frames(
    instances: Sequence[Instance], frames: Sequence[tuple[Instance, int]], limits: Limits
) -> Sequence[Frame]:
    places = {instance.sop_instance_uid: place for place, instance in enumerate(instances)}
    opened = _OnAccess(len(instances), lambda place: open_instance(instances[place], limits=limits))

    def load(at: int) -> Frame:
        instance, frame_number = frames[at]
        return decode_frame(opened[places[instance.sop_instance_uid]], frame_number)

    return _OnAccess(len(frames), load)


def _picture_frames(pictures: Sequence[_Picture], limits: Limits) -> Sequence[Frame]:
    def load(at: int) -> Frame:
        source = pictures[at].source
        try:
            with source.open(limits=limits) as stream:
                return raster.read_raster(stream.read(), name=source.name)
        except UNREADABLE as error:
            raise DicomError(f"{source.name} can no longer be read; read the study again") from error

    return _OnAccess(len(pictures), load)


def _notice_files(instances: Sequence[Instance], pictures: Sequence[_Picture]) -> list[Notice]:
    """What the gate and the reading found in the files that are used, once a study."""
    notices: list[Notice] = []
    if pictures:
        message = "the image is a PNG or JPEG file without modality, spacing or values; pass the DICOM file"
        notices.append(Notice(code="no_acquisition_data", message=message, tag="(0008,0060)"))
    if any(instance.derived for instance in instances):
        message = "the file holds a mask, dose or map, not an acquired image; pass the image it belongs to"
        notices.append(Notice(code="derived_object", message=message, tag="(0008,0016)"))
    if len({instance.patient for instance in instances} - {None}) > 1:
        message = "the files of this study name several patients; find out whose it is before you ask"
        notices.append(Notice(code="several_patients", message=message, tag="(0010,0020)"))
    missing = Counter(keyword for instance in instances for keyword in instance.stand_ins)
    for keyword, count in sorted(missing.items()):
        message = f"{count} of {len(instances)} files have no {keyword}; one was derived from their content"
        notices.append(Notice(code="missing_uid", message=message, tag=_UID_TAGS[keyword]))
    codes = (code for instance in instances for code in gate.inspect_header(instance.first_frame))
    return [*notices, *gate.summarise_headers(codes, files=len(instances))]


_UID_TAGS = {
    "StudyInstanceUID": "(0020,000D)",
    "SeriesInstanceUID": "(0020,000E)",
    "SOPInstanceUID": "(0008,0018)",
}


def summarise_skipped(skipped: Iterable[Skipped]) -> list[Notice]:
    """Turn skipped files into one notice a reason, naming a few files and counting the rest."""
    merged: dict[tuple[str, str, str | None], list[str]] = {}
    for one in skipped:
        merged.setdefault((one.code, one.reason, one.tag), []).append(one.name)
    return [
        Notice(code=code, message=f"skipped {_list_names(names)}, which {reason}", tag=tag)
        for (code, reason, tag), names in merged.items()
    ]


def _list_names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED_FILES])
    rest = len(names) - NAMED_FILES
    return shown if rest <= 0 else f"{shown} and {rest} more"


def _nothing_found(path: Path, skipped: Skipping, study_instance_uid: str | None) -> str:
    name = path.name or str(path)
    if study_instance_uid is not None:
        return f"{name} holds no image of study {study_instance_uid}; check study_instance_uid"
    if not skipped:
        return f"{name} is empty; pass a DICOM file, a folder or a ZIP archive that holds images"
    if len(skipped) == 1 and skipped[0].name == name:
        return f"{name} {skipped[0].reason}; pass a DICOM, PNG or JPEG image"
    why = "; ".join(notice.message for notice in summarise_skipped(skipped)[:NAMED_FILES])
    return f"{name} holds no image that can be used: {why}; pass a folder that holds images"
