"""Canaries for de-identification: a different one in each attribute, so that none is found by another."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import dicom_builder
from pydicom import dcmread
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset, FileDataset

from medvqa.deidentification.burned_in import FoundText
from medvqa.deidentification.identifiers import collect_identifiers
from medvqa.deidentification.instances import Task, clean_instance
from medvqa.deidentification.options import Option
from medvqa.deidentification.quietness import quietly
from medvqa.deidentification.replacements import Replacements
from medvqa.dicom.instances import Instance, read_instance
from medvqa.dicom.sources import DEFAULT_LIMITS, Source

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from medvqa.deidentification.masking import Region
    from medvqa.deidentification.report import CleanedInstance

KEY = bytes(range(32))
CODE = "CODE-1"
# fmt: off
STRUCTURE = frozenset({
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "MediaStorageSOPInstanceUID",
    "SpecificCharacterSet",
})
# fmt: on


def kind(tag: int) -> str:
    """Value representation; of an attribute newer than pydicom's dictionary, text."""
    return dictionary_VR(tag) if dictionary_has_tag(tag) else "LO"


def canary(tag: int) -> bytes:
    """What is planted in an attribute, as it would stand in the file; empty where its kind can hold none."""
    match kind(tag):
        case "DA":
            return b"%04d%02d%02d" % (1000 + tag % 800, 1 + tag % 12, 1 + tag % 28)
        case "DT":
            return b"%04d0203040506.%06d" % (1000 + tag % 800, tag % 1_000_000)
        case "TM":
            return b"040506.%06d" % (tag % 1_000_000)
        case "UI":
            return b"1.2.77.%d" % tag
        case "AS":
            return b"123Y"
        case "CS" | "LO" | "LT" | "PN" | "SH" | "ST" | "UC" | "UR" | "UT" | "AE" | "OB" | "OW" | "UN":
            return b"QZ%08X" % tag
        case _:
            return b""


def plant(dataset: Dataset, tags: Iterable[int]) -> list[bytes]:
    """Plant a canary in each attribute that can hold one; sequences hold one as a patient's name."""
    planted: list[bytes] = []
    for tag in tags:
        if keyword_for_tag(tag) in STRUCTURE or tag in dataset:
            continue
        vr, value = kind(tag), canary(tag)
        if vr == "SQ":
            value = b"QZ%08X" % tag
            dataset.add_new(tag, vr, [dicom_builder.item(PatientName=value.decode(), CodeMeaning="x")])
        elif value:
            dataset.add_new(tag, vr, value if vr in ("OB", "OW", "UN") else value.decode())
        if value:
            planted.append(value)
    return planted


def source_of(path: Path, content: bytes) -> Instance:
    """The instance in a file of this content."""
    path.write_bytes(content)
    source = Source(name=path.name, path=path, size=len(content))
    read = read_instance(source, BytesIO(content), limits=DEFAULT_LIMITS)
    assert isinstance(read, Instance), read
    return read


def cleaned(
    path: Path,
    dataset: FileDataset | bytes,
    *options: Option,
    regions: tuple[Region, ...] = (),
    key: bytes = KEY,
) -> tuple[bytes, CleanedInstance]:
    """De-identify one file, without looking for text."""
    content = dataset if isinstance(dataset, bytes) else dicom_builder.to_bytes(dataset)
    instance = source_of(path, content)
    with quietly():
        identifiers = collect_identifiers([dcmread(path, force=True, stop_before_pixels=True)])
    task = Task(
        instance=instance,
        text=FoundText(regions=regions, frames=len(instance.places), frames_read=len(instance.places)),
        put=Replacements(key=key, code=CODE, subject="somebody"),
        identifiers=identifiers,
    )
    return clean_instance(task, frozenset(options), limits=DEFAULT_LIMITS)


def opened(content: bytes) -> Any:
    """The data set in a file."""
    return dcmread(BytesIO(content))
