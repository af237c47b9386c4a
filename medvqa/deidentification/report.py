"""What was done to each instance of a de-identified study, as JSON and as text; no old value is in it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medvqa.deidentification.burned_in import LONGEST_READ, SAMPLES
from medvqa.deidentification.profile import EDITION

if TYPE_CHECKING:
    from medvqa.deidentification.attributes import Change
    from medvqa.deidentification.masking import Region
    from medvqa.deidentification.options import Option

NOT_CHECKED = (
    "OCR misses text, handwriting above all. Look at the images before they are shared.",
    f"Of a series of more than {LONGEST_READ} frames, {SAMPLES} and two projections were read, and "
    "Burned In Annotation is left out.",
    "Faces and other features that can be recognised in volumes and photographs were not removed.",
    "Short technical names and codes that the profile keeps were searched for names and numbers of the "
    "study's own headers alone.",
)
"""Said in every report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanedInstance:
    """One instance that was cleaned, by its new UIDs."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class: str
    """Name of its SOP Class."""
    sha256: str
    """Of the file that was written."""
    changes: frozenset[Change]
    regions: tuple[Region, ...]
    """Masked in every frame."""
    frames: int
    frames_read: int
    unused_bits_cleared: bool

    @property
    def file(self) -> str:
        """Where it is written, from the folder that was asked for."""
        return f"{self.study_instance_uid}/{self.series_instance_uid}/{self.sop_instance_uid}.dcm"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """One object that was not written."""

    sop_instance_uid: str | None
    """The new UID that it would have had; None where the file tells none."""
    reason: str
    """Completes the sentence 'it was left out: it ...'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run did."""

    run: str
    """Random name, by which the audit trail knows it."""
    options: frozenset[Option]
    instances: tuple[CleanedInstance, ...]
    left_out: tuple[LeftOut, ...]
    not_dicom: int
    """Files that are not DICOM; none was copied."""

    def to_json(self) -> str:
        """The whole report."""
        return json.dumps(self._described(), indent=1, ensure_ascii=False) + "\n"

    def to_text(self) -> str:
        """The report for a person: what was done how often, and what was not."""
        return "\n".join(self._lines()) + "\n"

    def _described(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "profile": f"DICOM PS3.15 {EDITION} Annex E, Basic Application Level Confidentiality Profile",
            "options": self._option_names(),
            "instances": [_describe(one) for one in self.instances],
            "left_out": [
                {"sop_instance_uid": one.sop_instance_uid, "reason": one.reason} for one in self.left_out
            ],
            "files_not_dicom": self.not_dicom,
            "not_checked": list(NOT_CHECKED),
        }

    def _option_names(self) -> list[str]:
        return ["clean-pixel-data", *sorted(self.options)]

    def _lines(self) -> list[str]:
        changes = Counter(change for one in self.instances for change in one.changes)
        masked = [one for one in self.instances if one.regions]
        read = sum(one.frames_read for one in self.instances)
        return [
            f"De-identification {self.run}",
            f"DICOM PS3.15 {EDITION} Annex E; options: {', '.join(self._option_names())}",
            "",
            f"{len(self.instances)} instances were written; {len(self.left_out)} were left out; "
            f"{self.not_dicom} files are not DICOM and were not copied.",
            f"{read} of {sum(one.frames for one in self.instances)} frames were read for text; "
            f"{len(masked)} instances were masked.",
            "",
            "Left out:",
            *(f"  {one.sop_instance_uid or 'a file without UID'}: it {one.reason}" for one in self.left_out),
            *(() if self.left_out else ("  nothing",)),
            "",
            "Masked (rows, columns from 0):",
            *(f"  {one.sop_instance_uid}: {_places(one.regions)}" for one in masked),
            *(() if masked else ("  nothing",)),
            "",
            "Attributes, and in how many instances:",
            *(
                f"  {change.place} {change.action}: {count}"
                for change, count in sorted(changes.items(), key=lambda item: item[0].place)
            ),
            "",
            "Not checked:",
            *(f"  {sentence}" for sentence in NOT_CHECKED),
        ]


def _describe(one: CleanedInstance) -> dict[str, Any]:
    actions: dict[str, list[str]] = {}
    for change in sorted(one.changes, key=lambda change: change.place):
        actions.setdefault(change.action, []).append(change.place)
    return {
        "file": one.file,
        "sha256": one.sha256,
        "sop_class": one.sop_class,
        "attributes": actions,
        "masked": [
            {"top": at.top, "bottom": at.bottom, "left": at.left, "right": at.right} for at in one.regions
        ],
        "frames": one.frames,
        "frames_read": one.frames_read,
        "unused_bits_cleared": one.unused_bits_cleared,
    }


def _places(regions: tuple[Region, ...]) -> str:
    return "; ".join(f"{at.top}-{at.bottom}, {at.left}-{at.right}" for at in regions)
