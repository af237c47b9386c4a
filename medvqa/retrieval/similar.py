"""Earlier cases that look alike: images into an index, and what lies close to an image or a text.

A case is a study: of each, the closest image stands for all. The open study itself is never among them, and
what the trail knows for another study of the same patient is a prior, and kept apart. What was said of a case
is what somebody signed, as the trail tells it.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from audit import Filter, ReadError
from audit.rows import read_row
from medvqa import records
from medvqa.errors import CaseIndexError, DicomError, GateError, QuestionError
from medvqa.gate import check_image
from medvqa.long_work import enter
from medvqa.reading.stories import tell
from medvqa.records import Lookup, record
from medvqa.stopping import require_running

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from audit import JSON, Entry, Event, Log
    from medvqa.models.contrastive import ContrastiveModel, Embeddings
    from medvqa.reading.stories import Story
    from medvqa.retrieval.index import CaseIndex, Hit
    from medvqa.sessions import Session
    from medvqa.types import Image, ImageRef, Study

SIMILARITY = (
    "Similarity is the cosine between what the model computes of the two, from -1 to 1; 1 is the same "
    "picture. It says that they look alike to this model, not that findings or diagnoses are the same."
)
"""Stands wherever a similarity is read."""

_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarCase:
    """Another study, by the image of it that lies closest."""

    image: ImageRef
    similarity: float
    """Cosine, in [-1, 1]: see `SIMILARITY`. One of image and text is lower than one of two images, and says
    nothing beside it."""
    same_patient: bool | None
    """By pseudonym; None where the trail does not know the patient of either."""
    signed: tuple[Story, ...] | None
    """Signed answers about this study, in the order of the answers; None where their rows are archived or
    cannot be read."""

    def is_about_image(self, story: Story) -> bool:
        """Whether an answer is about this very image, not another one of the study."""
        asked = story.answered.entity["image"]
        named = ("sop_instance_uid", "frame_number", "pixel_sha256")
        return isinstance(asked, dict) and all(asked[name] == getattr(self.image, name) for name in named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    """What a look-up found, the closest first."""

    audit_id: int
    """Sequence number of its event in the audit trail."""
    cases: tuple[SimilarCase, ...]
    """Of other patients, or of whom the trail does not know."""
    priors: tuple[SimilarCase, ...]
    """Other studies of the same patient that lie as close as the cases do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """What became of the images of a study."""

    images: int
    """That stand in the index now."""
    new: int
    """Of these, that it did not hold before."""
    left_out: int
    """That cannot be decoded, or that the gate refuses."""


def index_study(session: Session, index: CaseIndex, model: ContrastiveModel, study: Study) -> Indexed:
    """Add all images of a study to an index, once that is recorded.

    Raises:
        CaseIndexError: If the index is damaged or cannot be written.
        StoppedError: If a person stopped the work of models, about this study or all.
        RecordError: If the trail did not take the event.
    """
    require_running(session.log, study.study_instance_uid)
    refs: list[ImageRef] = []
    parts: list[Embeddings] = []
    enter("Looking at the images")
    for images in _usable(study, model):
        refs += [image.ref for image in images]
        parts.append(model.embed_images(images))
    left_out = len(study.images) - len(refs)
    entity = _describe_change(index, "add", refs) | {"left_out": left_out}
    _record_change(session, index, study.study_instance_uid, session.pseudonym_of(study), entity)
    new = index.add(refs, np.concatenate(parts)) if parts else 0
    return Indexed(images=len(refs), new=new, left_out=left_out)


def remove_study(session: Session, index: CaseIndex, study_instance_uid: str) -> int:
    """Take all images of a study out of an index, once that is recorded; return how many there were.

    Raises:
        CaseIndexError: If the index holds none, is damaged or cannot be written.
        RecordError: If the trail did not take the event.
    """
    refs = [image for image in index.images if image.study_instance_uid == study_instance_uid]
    if not refs:
        raise CaseIndexError("the index holds no image of that study; nothing was changed")
    patient, _ = _read_case(session.log, study_instance_uid)
    entity = _describe_change(index, "remove", refs)
    _record_change(session, index, study_instance_uid, patient, entity)
    return index.remove(study_instance_uid)


def find_similar(
    session: Session, index: CaseIndex, model: ContrastiveModel, image: Image, *, study: Study, k: int = 5
) -> Similar:
    """The cases whose images lie closest to an image; recorded before they return.

    Args:
        session: Who looks.
        index: Of earlier cases.
        model: That made the index.
        image: Of the study.
        study: The open one.
        k: Cases of other patients wanted, from 1.

    Raises:
        GateError: If the image is refused, or a person stopped the work of models; that is recorded.
        CaseIndexError: If the index is damaged.
        RecordError: If the trail did not take the event.
    """
    search = _begin(session, index, study, wanted=k, looked_for={"image": asdict(image.ref)})
    with search.refusals_recorded():
        require_running(session.log, study.study_instance_uid)
        check_image(image, modalities=model.modalities)
        vector = model.embed_images([image])[0]
    return search.find(vector)


def find_by_text(
    session: Session,
    index: CaseIndex,
    model: ContrastiveModel,
    text: str,
    *,
    study: Study | None = None,
    k: int = 5,
) -> Similar:
    """The cases with an image that lies closest to a text; recorded before they return.

    Args:
        session: Who looks.
        index: Of earlier cases.
        model: That made the index.
        text: A sentence, recorded as it is written, so it must not name the patient.
        study: The open one, where there is one: it is not found, and its patient's other studies are priors.
        k: Cases wanted, from 1.

    Raises:
        QuestionError: If the text is empty, too long or holds a special token; that is recorded.
        StoppedError: If a person stopped the work of models; that is recorded.
        CaseIndexError: If the index is damaged.
        RecordError: If the trail did not take the event.
    """
    search = _begin(session, index, study, wanted=k, looked_for={"text": text})
    with search.refusals_recorded():
        require_running(session.log, search.study)
        vector = model.embed_texts([text])[0]
    return search.find(vector)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Search:
    """One look-up, and what is recorded of it."""

    session: Session
    index: CaseIndex
    lookup: Lookup
    study: str | None
    patient: str | None
    wanted: int
    looked_for: Mapping[str, JSON]

    @contextmanager
    def refusals_recorded(self) -> Generator[None]:
        try:
            yield
        except (GateError, QuestionError) as refusal:
            record(self.session.log, self._entry({"reason": str(refusal)}, refused=True))
            raise

    def find(self, vector: Embeddings) -> Similar:
        cases: list[SimilarCase] = []
        priors: list[SimilarCase] = []
        entries: list[Entry] = []
        for hit in self._closest_by_study(vector):
            patient, signed = _read_case(self.session.log, hit.image.study_instance_uid)
            known = self.patient is not None and patient is not None
            case = SimilarCase(
                image=hit.image,
                similarity=hit.similarity,
                same_patient=patient == self.patient if known else None,
                signed=signed,
            )
            (priors if case.same_patient else cases).append(case)
            entries.append(self._shown(case, patient))
            if len(cases) == self.wanted:
                break
        found = {"cases": len(cases), "priors": len(priors), "images": len(self.index)}
        looked = record(self.session.log, self._entry(found), *entries)[0]
        return Similar(audit_id=looked.sequence, cases=tuple(cases), priors=tuple(priors))

    def _closest_by_study(self, vector: Embeddings) -> Iterator[Hit]:
        """The closest image of each other study; more are fetched until none are left."""
        seen = {self.study}
        held, count = len(self.index), 0
        while count < held:
            count = min(held, max(4 * count, 64 * self.wanted))
            for hit in self.index.search(vector, count):
                if hit.image.study_instance_uid not in seen:
                    seen.add(hit.image.study_instance_uid)
                    yield hit

    def _entry(self, entity: Mapping[str, JSON], *, refused: bool = False) -> Entry:
        return records.find_similar(
            self.session.agent,
            self.lookup,
            study=self.study,
            patient=self.patient,
            entity={**self.looked_for, "wanted": self.wanted, **entity},
            refused=refused,
        )

    def _shown(self, case: SimilarCase, patient: str | None) -> Entry:
        """That this case was shown, under its own study: who asks who saw that study finds it."""
        return records.find_similar(
            self.session.agent,
            self.lookup,
            study=case.image.study_instance_uid,
            patient=patient,
            entity={
                "shown": asdict(case.image),
                "similarity": case.similarity,
                "same_patient": case.same_patient,
                "answers": None if case.signed is None else [story.answer_id for story in case.signed],
            },
        )


def _begin(
    session: Session, index: CaseIndex, study: Study | None, *, wanted: int, looked_for: Mapping[str, JSON]
) -> _Search:
    return _Search(
        session=session,
        index=index,
        lookup=Lookup(name=str(uuid.uuid4()), index=index.name, model=index.model),
        study=None if study is None else study.study_instance_uid,
        patient=None if study is None else session.pseudonym_of(study),
        wanted=wanted,
        looked_for=looked_for,
    )


def _usable(study: Study, model: ContrastiveModel) -> Iterator[list[Image]]:
    """The images that can be decoded and pass the gate, some at a time."""
    batch: list[Image] = []
    for place in range(len(study.images)):
        try:
            image = study.images[place]
            check_image(image, modalities=model.modalities)
        except (DicomError, GateError):
            continue
        batch.append(image)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _read_case(log: Log, study: str) -> tuple[str | None, tuple[Story, ...] | None]:
    """Whose study it is by the trail, and the signed answers about it, or None where a row is archived."""
    patient: str | None = None
    events: list[Event] | None = []
    for row in log.read_rows(Filter(study=study)):
        patient = row.patient or patient
        try:
            event = read_row(row)
        except ReadError:
            events = None
            continue
        if events is not None:
            events.append(event)
    if events is None:
        return patient, None
    return patient, tuple(story for story in tell(events) if story.signatures)


def _describe_change(index: CaseIndex, change: str, images: Sequence[ImageRef]) -> dict[str, JSON]:
    named = ("sop_instance_uid", "frame_number", "pixel_sha256")
    return {
        "index": index.name,
        "change": change,
        "images": [{name: getattr(image, name) for name in named} for image in images],
    }


def _record_change(
    session: Session,
    index: CaseIndex,
    study: str,
    patient: str | None,
    entity: dict[str, JSON],
) -> None:
    entry = records.index(session.agent, study=study, patient=patient, model=index.model, entity=entity)
    record(session.log, entry)
