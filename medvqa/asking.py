"""Putting questions to a model: recorded, gated, answered, explained and checked, recorded again.

One question or several: those that are put together are read by the model together, where it can, and each
has its own end. Whatever happens is durable in the trail before anybody hears of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from medvqa import records
from medvqa.checks import check_answers
from medvqa.checks.faithfulness import with_grade
from medvqa.checks.familiarity import check_familiarity
from medvqa.errors import GateError, MedvqaError, QuestionError
from medvqa.gate import check_image, check_leaving
from medvqa.heatmaps import make_heatmap, require_method
from medvqa.heatmaps.targets import ANSWER, scalar_of
from medvqa.long_work import enter
from medvqa.models.base import is_open
from medvqa.models.remote import RemoteModel
from medvqa.records import Agent, Outcome, Request, record
from medvqa.stopping import require_running
from medvqa.types import Answer, Notice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from audit import Entry, Event, Log
    from medvqa.checks.familiarity import Unfamiliar
    from medvqa.heatmaps.targets import Target
    from medvqa.models.base import Generation, VisionLanguageModel
    from medvqa.types import Heatmap, HeatmapMethod, Image, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A question on its way to the model: who asks it, about which image of which study."""

    by: Agent
    study: Study
    request: Request
    heatmap: HeatmapMethod | None = None
    """How the answer is to be explained."""
    warnings: tuple[Notice, ...] = ()
    """From before; those of the gate are added to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a question got no answer; the trail has it too."""

    error: MedvqaError
    """A `GateError` or `QuestionError`, or a `DicomError` where the image cannot be decoded."""

    @property
    def reason(self) -> str:
        """One sentence for a person, without patient attributes."""
        return str(self.error)


def answer_together(
    log: Log,
    model: VisionLanguageModel,
    asked: Iterable[Asking | Refusal],
    *,
    unfamiliar: Unfamiliar = "refuse",
) -> list[Answer | Refusal]:
    """Answer questions, as many at a time as the model reads together; one refused leaves the others alone.

    The questions are durable in the trail before the model sees them, and so are the answers before they
    return. What is put together at the trail is there wholly or not at all.

    Args:
        log: The trail.
        model: What answers.
        asked: With ids that differ, those about one image one after the other. They are taken as they are
            needed, so that not all images need be in memory. What was refused before passes through.
        unfamiliar: As for `medvqa.checks.familiarity.check_familiarity`.

    Returns:
        What came of each, in order.

    Raises:
        CancelledError: If whoever waits for it stopped it (`medvqa.long_work`); that is recorded.
        RecordError: If the trail did not take an event.
    """
    return [
        ended
        for together in _fitting(model, asked)
        for ended in _answer(log, model, together, unfamiliar=unfamiliar)
    ]


def refuse_to_send(model: VisionLanguageModel, study: Study) -> tuple[Notice, ...]:
    """Refuse to send a study that may tell who the patient is to a server; else a notice of what is sent.

    Raises:
        GateError: If so.
    """
    if not isinstance(model, RemoteModel):
        return ()
    if not model.identified:
        check_leaving(study)
    return (model.notice,)


def explain_generation(
    model: VisionLanguageModel,
    request: Request,
    generation: Generation,
    method: HeatmapMethod,
    target: Target = ANSWER,
) -> Heatmap:
    """Map what decided an answer, and grade the map."""
    asked = model, request.image, request.question, generation
    enter(f"Making the {method.replace('_', ' ')} map")
    heatmap = make_heatmap(method, *asked, target=target)
    if target != ANSWER and is_open(model):
        heatmap = replace(heatmap, part=scalar_of(target, model, generation).formula)
    enter("Grading the map")
    return with_grade(*asked, heatmap, target=target)


def _fitting(
    model: VisionLanguageModel, asked: Iterable[Asking | Refusal]
) -> Iterator[list[Asking | Refusal]]:
    """Questions in groups of as many images as the model answers about together."""
    most = model.images_together if is_open(model) else 0
    group: list[Asking | Refusal] = []
    images: list[Image] = []
    for one in asked:
        image = one.request.image if isinstance(one, Asking) else None
        if image is not None and not any(image is known for known in images):
            if group and len(images) >= most:
                yield group
                group, images = [], []
            images.append(image)
        group.append(one)
        if not most:
            yield group
            group, images = [], []
    if group:
        yield group


@dataclass(frozen=True, slots=True, kw_only=True)
class _LetIn:
    """A question that the gate lets through, with all that was noticed until then."""

    asking: Asking
    warnings: tuple[Notice, ...]
    familiar: bool


def _answer(
    log: Log, model: VisionLanguageModel, group: Sequence[Asking | Refusal], *, unfamiliar: Unfamiliar
) -> Iterator[Answer | Refusal]:
    """What `answer_together` does, for questions that the model reads at once."""
    started = time.perf_counter()
    asked = [one for one in group if isinstance(one, Asking)]
    if not asked:
        return (one for one in group if isinstance(one, Refusal))
    record(log, *(records.ask(one.by, one.request, heatmap=one.heatmap) for one in asked))
    try:
        ends = _compute(model, _gate(log, model, asked, unfamiliar=unfamiliar))
    except Exception as error:
        record(log, *(records.fail(one.by, one.request, error) for one in asked))
        raise
    events = _record_ends(log, asked, ends)
    seconds = time.perf_counter() - started
    answered = iter(
        end if isinstance(end, Refusal) else _describe(one.request, end, event, seconds)
        for one, end, event in zip(asked, ends, events, strict=True)
    )
    return (one if isinstance(one, Refusal) else next(answered) for one in group)


def _gate(
    log: Log, model: VisionLanguageModel, asked: Sequence[Asking], *, unfamiliar: Unfamiliar
) -> list[_LetIn | Refusal]:
    """Let questions in or refuse them; an image is looked at once, however many are about it."""
    seen: dict[int, _Seen | GateError] = {}
    gated: list[_LetIn | Refusal] = []
    for one in asked:
        image = one.request.image
        if id(image) not in seen:
            try:
                seen[id(image)] = _look(log, model, one, unfamiliar=unfamiliar)
            except GateError as error:
                seen[id(image)] = error
        found = seen[id(image)]
        gated.append(Refusal(error=found) if isinstance(found, GateError) else _let_in(model, one, found))
    return gated


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What the gate noticed about an image that it lets through."""

    noticed: tuple[Notice, ...]
    familiar: bool


def _look(log: Log, model: VisionLanguageModel, one: Asking, *, unfamiliar: Unfamiliar) -> _Seen:
    image = one.request.image
    require_running(log, image.ref.study_instance_uid)
    sent = refuse_to_send(model, one.study)
    noticed = check_image(image, modalities=model.modalities)
    strange = check_familiarity(model, image, unfamiliar=unfamiliar)
    return _Seen(noticed=(*sent, *noticed, *strange), familiar=not strange)


def _let_in(model: VisionLanguageModel, one: Asking, seen: _Seen) -> _LetIn | Refusal:
    if one.heatmap is not None:
        require_method(one.heatmap, model)
    if is_open(model):
        try:
            # One that the model cannot read keeps no other waiting.
            model.prompt(one.request.image, one.request.question)
        except QuestionError as error:
            return Refusal(error=error)
    return _LetIn(asking=one, warnings=(*one.warnings, *seen.noticed), familiar=seen.familiar)


def _compute(model: VisionLanguageModel, gated: Sequence[_LetIn | Refusal]) -> list[Outcome | Refusal]:
    """Answer, explain and check whatever was let in."""
    let_in = [one for one in gated if isinstance(one, _LetIn)]
    if not let_in:
        return [one for one in gated if isinstance(one, Refusal)]
    requests = [one.asking.request for one in let_in]
    enter("Answering")
    try:
        generations = _generate(model, [(one.image, one.question) for one in requests])
    except QuestionError as error:
        if is_open(model):
            raise
        return [Refusal(error=error)]  # of a model that is asked one question at a time
    heatmaps = [
        one.asking.heatmap and explain_generation(model, one.asking.request, generation, one.asking.heatmap)
        for one, generation in zip(let_in, generations, strict=True)
    ]
    enter("Checking the answer")
    answered = [
        (one.image, one.question, generation) for one, generation in zip(requests, generations, strict=True)
    ]
    checks = check_answers(model, answered, familiar=[one.familiar for one in let_in])
    outcomes = iter(
        Outcome(
            generation=generation,
            checks=checked,
            heatmap=heatmap,
            warnings=one.warnings,
            together=len(let_in),
        )
        for one, generation, checked, heatmap in zip(let_in, generations, checks, heatmaps, strict=True)
    )
    return [one if isinstance(one, Refusal) else next(outcomes) for one in gated]


def _generate(model: VisionLanguageModel, asked: Sequence[tuple[Image, str]]) -> list[Generation]:
    if is_open(model) and len(asked) > 1:
        return model.generate_many(asked)
    return [model.generate(*one) for one in asked]


def _record_ends(log: Log, asked: Sequence[Asking], ends: Sequence[Outcome | Refusal]) -> list[Event]:
    """Answers and heatmaps at once, so that there is never one without the other.

    Returns:
        The first event of each.
    """
    entries: list[Entry] = []
    first: list[int] = []
    for one, end in zip(asked, ends, strict=True):
        first.append(len(entries))
        if isinstance(end, Refusal):
            entries.append(records.refuse(one.by, one.request, reason=end.reason))
            continue
        entries.append(records.answer(one.by, one.request, end))
        if end.heatmap is not None:
            entries.append(records.explain(one.by, one.request, end.heatmap))
    events = record(log, *entries)
    return [events[place] for place in first]


def _describe(request: Request, came: Outcome, event: Event, seconds: float) -> Answer:
    return Answer(
        answer_id=request.answer_id,
        audit_id=event.sequence,
        question=request.question,
        text=came.generation.text,
        tokens=came.generation.tokens,
        image=request.image.ref,
        model=request.model,
        checks=came.checks,
        heatmap=came.heatmap,
        warnings=came.warnings,
        created=event.recorded,
        seconds=seconds,
    )
