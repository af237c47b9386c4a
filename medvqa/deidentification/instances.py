"""One instance, from the source's bytes to those of its de-identified copy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medvqa.deidentification.attributes import clean_attributes, say_deidentified
from medvqa.deidentification.masking import clean_pixels
from medvqa.deidentification.profile import is_registered
from medvqa.deidentification.quietness import quietly
from medvqa.deidentification.report import CleanedInstance
from medvqa.errors import DeidentificationError

if TYPE_CHECKING:
    from medvqa.deidentification.burned_in import FoundText
    from medvqa.deidentification.identifiers import Identifiers
    from medvqa.deidentification.options import Option
    from medvqa.deidentification.replacements import Replacements
    from medvqa.dicom.instances import Instance
    from medvqa.dicom.sources import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be done to one instance."""

    instance: Instance
    text: FoundText
    put: Replacements
    identifiers: Identifiers = field(repr=False)


def clean_instance(
    task: Task, options: frozenset[Option], *, limits: Limits
) -> tuple[bytes, CleanedInstance]:
    """Make the de-identified copy of an instance: always the same of the same.

    It is written anew, in Explicit VR Little Endian without compression, whose streams may hold comments:
    preamble, file meta information and whatever follows the data set are not those of the source.

    Raises:
        DeidentificationError: If it cannot be cleaned; the message follows the instance's name in a sentence.
    """
    if task.text.problem is not None:
        raise DeidentificationError(task.text.problem)
    try:
        with quietly():
            return _clean(task, options, limits)
    except DeidentificationError:
        raise
    except Exception as error:  # pydicom and decoders raise whatever a broken file makes of it
        # Not chained: the cause may quote a value.
        raise DeidentificationError(
            f"cannot be taken apart or written again ({type(error).__name__})"
        ) from None


def _clean(task: Task, options: frozenset[Option], limits: Limits) -> tuple[bytes, CleanedInstance]:
    instance, text = task.instance, task.text
    with instance.source.open(limits=limits) as stream:
        dataset = dcmread(stream, force=True)
    sop_class = UID(str(dataset.get("SOPClassUID") or ""))
    if not is_registered(sop_class):
        raise DeidentificationError("is of no SOP Class of the Standard, so nobody knows what it holds")
    dataset.StudyInstanceUID = instance.study_instance_uid
    dataset.SeriesInstanceUID = instance.series_instance_uid
    dataset.SOPInstanceUID = instance.sop_instance_uid
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = _plain_syntax(*dataset.original_encoding)
    cleared = clean_pixels(dataset, text.regions)
    changes = clean_attributes(dataset, options, put=task.put, identifiers=task.identifiers)
    say_deidentified(dataset, options, code=task.put.code, every_frame_read=text.every_frame_read)
    uids = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
    if not all(UID(uid).is_valid for uid in uids):
        raise DeidentificationError("has a UID that is none, and UIDs are to be kept")
    dataset.preamble = bytes(128)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    written = BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    content = written.getvalue()
    return content, CleanedInstance(
        study_instance_uid=uids[0],
        series_instance_uid=uids[1],
        sop_instance_uid=uids[2],
        sop_class=sop_class.name,
        sha256=hashlib.sha256(content).hexdigest(),
        changes=changes,
        regions=text.regions,
        frames=text.frames,
        frames_read=text.frames_read,
        unused_bits_cleared=cleared,
    )


def _plain_syntax(implicit: bool | None, little_endian: bool | None) -> UID:
    """Of a file that does not say."""
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
