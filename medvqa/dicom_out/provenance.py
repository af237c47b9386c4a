"""Who made an object, when, of whose study: what all forms share."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from highdicom import AlgorithmIdentificationSequence
from pydicom.sr.codedict import codes
from pydicom.uid import SecondaryCaptureImageStorage

from medvqa.dicom.instances import derive_uid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pydicom.dataset import Dataset

    from audit import Event
    from medvqa.dicom_out.sources import SourceImage

MANUFACTURER = "medvqa"
FAMILY = codes.DCM.ArtificialIntelligence
"""Algorithm Family (CID 7162)."""
_LONG_STRING, _LONG_TEXT = 64, 1024
_SERIES_NUMBERS = {"sr": 9001, "map": 9002, "capture": 9003, "seg": 9004, "pdf": 9005}
"""Above those of a scanner, so that results come last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where one object comes from. All its UIDs follow from it: the same origin gives the same object."""

    form: str
    subject: str
    """Id of the answer or result; of a report, its study's UID."""
    events: tuple[Event, ...]
    """What the trail holds of it, as far as it is in the object; in their order."""
    pins: tuple[str, ...] = ()
    """Digests of what else is in it, such as a heatmap."""

    @property
    def sop_instance_uid(self) -> str:
        """Another once anything in the object is another, since no instance ever changes."""
        hashes = (event.hash for event in self.events)
        return derive_uid("medvqa result", self.form, self.subject, own_version(), *hashes, *self.pins)

    @property
    def made(self) -> datetime:
        """When the last of what is in the object was recorded."""
        return max(event.recorded for event in self.events)

    @property
    def model(self) -> Mapping[str, Any]:
        """Which model it is from, as the trail has it."""
        model: Any = self.events[0].entity["model"]
        return model

    @property
    def model_digest(self) -> str:
        """Of weights, adapter, prompt and parameters together (`medvqa.digests.digest_model`)."""
        return str(self.events[0].model)


def own_version() -> str:
    """Of medvqa."""
    try:
        return version("medvqa")
    except PackageNotFoundError:
        return "not installed"


def identify(origin: Origin, source: SourceImage, *, series: str) -> dict[str, Any]:
    """What highdicom's classes are told of series, instance and equipment.

    Args:
        origin: Of the object.
        source: Whose study it joins.
        series: Series Description. One series holds what one model said about one source series in one form,
            since equipment and frame of reference are those of a series (PS3.3 A.1.2.3).
    """
    study, of = str(source.header.StudyInstanceUID), str(source.header.SeriesInstanceUID)
    return {
        "series_instance_uid": derive_uid(
            "medvqa series", origin.form, study, of, origin.model_digest, own_version()
        ),
        "series_number": _SERIES_NUMBERS[origin.form],
        "series_description": cut(series),
        "sop_instance_uid": origin.sop_instance_uid,
        "instance_number": origin.events[0].sequence,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": cut(str(origin.model["name"])),
        "software_versions": own_version(),
        "device_serial_number": origin.model_digest,
        "specific_character_set": "ISO_IR 192",
    }


def describe_model(origin: Origin) -> list[str]:
    """Digests and versions that pin the model, as `name=value`; what it has none of is left out."""
    model = origin.model
    names = (
        "model_type",
        "weights_sha256",
        "tokenizer_sha256",
        "adapter",
        "adapter_sha256",
        "calibration_sha256",
        "prompt_version",
    )
    return [f"{name}={model[name]}" for name in names if model.get(name) is not None]


def identify_algorithm(origin: Origin) -> AlgorithmIdentificationSequence:
    """Segmentation Algorithm Identification (PS3.3 10.12)."""
    return AlgorithmIdentificationSequence(
        name=cut(str(origin.model["name"])),
        family=FAMILY,
        version=own_version(),
        source=MANUFACTURER,
        parameters={"model": origin.model_digest} | dict(one.split("=", 1) for one in describe_model(origin)),
    )


def finish(dataset: Any, origin: Origin, header: Dataset) -> None:
    """Give an object its patient and study, and times that are those of the trail.

    highdicom copies patient and study from its source image, too, but quotes names that it finds odd in
    warnings: what it was given names nobody.
    """
    whose = header.copy()
    whose.SOPClassUID = (
        SecondaryCaptureImageStorage  # all classes share these modules, known to highdicom or not
    )
    dataset.copy_patient_and_study_information(whose)
    # Local, as the source's: Timezone Offset (0008,0201) would speak of both (PS3.3 C.12.1.1.8).
    made = origin.made.astimezone()
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = f"{made:%Y%m%d}", f"{made:%H%M%S}"
    if "ContentDate" in dataset:
        dataset.ContentDate, dataset.ContentTime = f"{made:%Y%m%d}", f"{made:%H%M%S}"
    for equipment in dataset.get("ContributingEquipmentSequence", ()):
        if equipment.get("ManufacturerModelName") == "highdicom":
            del equipment.ContributionDateTime

    def derive_organization(_: Dataset, element: Any) -> None:
        if element.keyword == "DimensionOrganizationUID":
            element.value = derive_uid("medvqa dimensions", origin.sop_instance_uid)

    dataset.walk(derive_organization)


def cut(text: str, length: int = _LONG_STRING) -> str:
    """Text as a Long String (LO): on one line, without backslashes, at most so long."""
    line = " ".join(text.replace("\\", "/").split())
    return line if len(line) <= length else line[: length - 3] + "..."


def as_short_text(sentences: Sequence[str]) -> str:
    """Sentences as a Short Text (ST), at most 1024 characters."""
    text = " ".join(sentences)
    return text if len(text) <= _LONG_TEXT else text[: _LONG_TEXT - 3] + "..."


def person_name(name: str) -> str:
    """Identifier of a person of the staff as a Person Name (PN): all of it the family name."""
    plain = "".join(" " if sign in "^=\\" or not sign.isprintable() else sign for sign in name)
    return f"{plain.strip()[:64]}^"
