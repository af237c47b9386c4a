"""The first step of a batch: a study's files become the images that are asked about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar, overload

from medvqa.errors import DicomError
from medvqa.inquiries import inquiries_of
from medvqa.study import read_study
from medvqa.types import Pseudonym

if TYPE_CHECKING:
    from medvqa.batch.sources import StudySource
    from medvqa.inquiries import Inquiry
    from medvqa.question_sets import QuestionSet
    from medvqa.sessions import Session
    from medvqa.types import Frame, Image, Study

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedStudy:
    """A study on its way to the model: what is asked about it, with the images decoded."""

    source: StudySource
    study: Study
    """Holds the images that are asked about and no others, and a pseudonym for its patient."""
    inquiries: tuple[Inquiry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedStudy:
    """A study of which nothing came."""

    source: StudySource
    reason: str
    """One sentence."""


class Carried(Sequence[T]):
    """Some images or frames of a study, which go with it from one process to another."""

    def __init__(self, length: int, items: Mapping[int, T | DicomError]) -> None:
        """`items` by their places from 0; an error is raised on access."""
        self._length = length
        self._items = dict(items)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return [self[at] for at in range(self._length)[index]]
        at = range(self._length)[index]
        item = self._items.get(at) or DicomError(f"image {at + 1} was not asked about, and left behind")
        if isinstance(item, DicomError):
            raise item
        return item


def prepare_study(
    session: Session, source: StudySource, questions: QuestionSet
) -> PreparedStudy | FailedStudy:
    """Read a study and decode what is asked about."""
    try:
        study = read_study(source.paths, study_instance_uid=source.study_instance_uid)
    except DicomError as error:
        return FailedStudy(source=source, reason=str(error))
    asked = inquiries_of(questions, study)
    if not asked:
        reason = "no question of the set is about an image that this study has; see its images and modalities"
        return FailedStudy(source=source, reason=reason)
    numbers = {one.image_number for one in asked}
    carried = carry(study, sorted(numbers), patient=session.pseudonym_of(study))
    inquiries = tuple(replace(one, study=carried) for one in asked)
    return PreparedStudy(source=source, study=carried, inquiries=inquiries)


def carry(study: Study, numbers: Sequence[int], *, patient: str | None) -> Study:
    """A study with some of its images alone, decoded, that can be pickled.

    Args:
        study: As it was read.
        numbers: Of the images, from 1.
        patient: Pseudonym.
    """
    images: dict[int, Image | DicomError] = {}
    frames: dict[int, Frame | DicomError] = {}
    for number in numbers:
        place = number - 1
        try:
            images[place], frames[place] = study.images[place], study.frames[place]
        except DicomError as error:
            images[place] = frames[place] = error
    return replace(
        study,
        images=Carried(len(study.images), images),
        frames=Carried(len(study.images), frames),
        patient=None if patient is None else Pseudonym(patient),
        study_date=None,
    )
