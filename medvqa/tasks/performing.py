"""The one door to every task: gate, do, record, between the record of the order and that of the result."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict, Unpack, cast, get_args

from medvqa.assistant import Assistant
from medvqa.checks.familiarity import check_familiarity
from medvqa.errors import FormatError, GateError, QuestionError, TaskError
from medvqa.gate import check_image
from medvqa.long_work import enter
from medvqa.prompts import clean_question
from medvqa.records import record
from medvqa.stopping import require_running
from medvqa.tasks import recording
from medvqa.tasks.asking import ask_sections, caption_question, state
from medvqa.tasks.choosing import answers, classify
from medvqa.tasks.comparing import compare
from medvqa.tasks.prompted import (
    PromptedTask,
    prompted_for,
    read_boxes,
    read_lines,
    read_masks,
    word_prompt,
)
from medvqa.tasks.recording import Came, Ordered
from medvqa.tasks.results import Caption, Content, Reply
from medvqa.tasks.text_reading import identify_engine, is_available, read_text
from medvqa.types import Notice

if TYPE_CHECKING:
    from audit import Event
    from medvqa.types import Answer, Image, ImageRef, ModelIdentity, Study

Task: TypeAlias = Literal[
    "vqa", "caption", "report", "ocr", "detect", "ground", "segment", "classify", "compare"
]
TASKS: tuple[Task, ...] = get_args(Task)

LONG_ANSWERS: frozenset[Task] = frozenset({"detect", "ground", "segment", "ocr"})
"""Tasks whose answers are lists of places: a model that does them needs room for several hundred tokens."""

_NEEDED: dict[Task, str] = {
    "vqa": "a question",
    "ground": "the phrase to find",
    "segment": "what to outline",
    "compare": "the finding to compare, such as 'a nodule'",
}
"""What must be named."""


class Details(TypedDict, total=False):
    """What some tasks need besides."""

    image_number: int | None
    """Which image, from 1; by default the middle one. Of a prior too."""
    prior: Study | None
    """The earlier study, for `compare`."""
    options: Sequence[str]
    """What to choose from, for `classify`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """What came of a task, and where it is recorded."""

    result_id: str
    """Of a task that is one question, the answer's id."""
    audit_id: int
    """Sequence number of the result's event in the audit trail."""
    task: Task
    text: str | None
    """What was asked for, in the asker's words."""
    content: Content
    """See `medvqa.tasks.results`."""
    answers: tuple[Answer, ...]
    """Those that the result is made of; each has its own row."""
    image: ImageRef
    prior: ImageRef | None
    model: ModelIdentity
    warnings: tuple[Notice, ...]
    created: datetime
    seconds: float
    """From the order to the durable record."""


def perform(
    study: Study | str | Path,
    task: Task,
    text: str | None = None,
    *,
    assistant: Assistant | None = None,
    **details: Unpack[Details],
) -> TaskResult:
    """Do a task about one image of a study.

    The order is durable in the trail before the model sees it, and so is the result before it returns.

    Args:
        study: From `read_study`, or where to read it.
        task: One of `TASKS`.
        text: What it is about, in plain words: the question, what to look for, the finding to compare.
        assistant: What does it; a new one, of the default model, if it is left out.
        details: See `Details`.

    Raises:
        TaskError: If there is no such task, it lacks something, or the model cannot do it; the sentence names
            models that can.
        FormatError: If the model answered, but not in its form for such results; that is recorded.
        MedvqaError: As `Assistant.open_study` and `Assistant.ask` do.
    """
    started = time.perf_counter()
    text, options = _check_order(task, text, details)
    assistant = assistant or Assistant()
    opened = assistant.open_study(study) if isinstance(study, str | Path) else study
    number = details.get("image_number")
    if task in ("vqa", "caption"):
        question = text or caption_question(assistant.model.identity.model_type)
        answer = assistant.ask(opened, question, image_number=number)
        return _of_answer(task, text, answer)
    prior = details.get("prior")
    if prior is not None:
        _require_same_patient(assistant, opened, prior)
    ordered, chosen = _order(assistant, opened, task, text, details, options)
    came, answers_of_it, event = _do(assistant, opened, ordered, number, (*opened.warnings, *chosen))
    return TaskResult(
        result_id=ordered.result_id,
        audit_id=event.sequence,
        task=task,
        text=text,
        content=came.content,
        answers=answers_of_it,
        image=ordered.image.ref,
        prior=None if ordered.prior is None else ordered.prior.ref,
        model=ordered.model,
        warnings=came.warnings,
        created=event.recorded,
        seconds=time.perf_counter() - started,
    )


def _check_order(task: Task, text: str | None, details: Details) -> tuple[str | None, tuple[str, ...]]:
    """Text and options on one line each, if the task has all that it needs and nothing that it does not."""
    if task not in TASKS:
        raise TaskError(f"there is no task {task!r}; choose one of {', '.join(TASKS)}")
    text = clean_question(text) if text is not None else None
    if text is None and task in _NEEDED:
        raise TaskError(f"the task {task} needs {_NEEDED[task]}; write it after the study")
    if text is not None and task in ("caption", "report", "ocr"):
        raise TaskError(f"the task {task} takes no text; ask {text!r} with the task vqa")
    options = tuple(clean_question(option) for option in details.get("options", ()))
    if (task == "classify") != bool(options) or len(set(options)) < len(options) or len(options) == 1:
        raise TaskError("the task classify, and no other, needs two or more different options to choose from")
    if (task == "compare") != (details.get("prior") is not None):
        raise TaskError("the task compare, and no other, needs a prior study to compare with")
    return text, options


def _require_same_patient(assistant: Assistant, study: Study, prior: Study) -> None:
    names = assistant.session.pseudonym_of(study), assistant.session.pseudonym_of(prior)
    if None not in names and names[0] != names[1]:
        raise TaskError(
            "the prior is of another patient (0010,0020), so there is nothing to compare; name a study of "
            "the same patient"
        )


def _order(
    assistant: Assistant,
    study: Study,
    task: Task,
    text: str | None,
    details: Details,
    options: tuple[str, ...],
) -> tuple[Ordered, tuple[Notice, ...]]:
    patient, number = assistant.session.pseudonym_of(study), details.get("image_number")
    asked = text or task
    image, chosen = assistant.choose(study, number, question=asked, patient=patient)
    prior, earlier = details.get("prior"), None
    if prior is not None:
        earlier, _ = assistant.choose(
            prior, number, question=asked, patient=assistant.session.pseudonym_of(prior)
        )
        chosen = (*chosen, *_notice_order(study, prior))
    ordered = Ordered(
        result_id=str(uuid.uuid4()),
        task=task,
        text=text,
        options=options,
        patient=patient,
        image=image,
        prior=earlier,
        model=assistant.model.identity,
    )
    return ordered, chosen


def _notice_order(study: Study, prior: Study) -> tuple[Notice, ...]:
    dates = study.study_date, prior.study_date
    if dates[0] is None or dates[1] is None or dates[1] <= dates[0]:
        return ()
    message = "the prior is the later of the two studies; swap them if that was not meant"
    return (Notice(code="prior_is_later", message=message, tag="(0008,0020)"),)


def _do(
    assistant: Assistant, study: Study, ordered: Ordered, number: int | None, warnings: tuple[Notice, ...]
) -> tuple[Came, tuple[Answer, ...], Event]:
    """Between the record of the order and that of the result, or of why there is none."""
    by, trail = assistant.session.agent, assistant.audit
    record(trail, recording.perform(by, ordered))
    answered: tuple[Answer, ...] = ()
    try:
        if ordered.task == "report":
            content, answered = ask_sections(assistant, study, image_number=number)
            came = Came(content=content, warnings=(*warnings, *_noticed(answered, warnings)))
        else:
            came = _DOING[cast("Task", ordered.task)](assistant, ordered, warnings)
    except (GateError, QuestionError, TaskError) as refusal:
        outcome = "failed" if isinstance(refusal, FormatError) else "refused"
        record(trail, recording.refuse(by, ordered, reason=str(refusal), outcome=outcome))
        raise
    except Exception as error:
        record(trail, recording.fail(by, ordered, error))
        raise
    (event,) = record(trail, recording.result(by, ordered, came))
    return came, answered, event


def _noticed(answered: tuple[Answer, ...], known: tuple[Notice, ...]) -> tuple[Notice, ...]:
    """What the answers warn of, each once."""
    return tuple(dict.fromkeys(one for answer in answered for one in answer.warnings if one not in known))


def _admit(assistant: Assistant, image: Image, *, by_model: bool = True) -> tuple[Notice, ...]:
    """The gate; what only matters to the model is left out where it is not asked."""
    require_running(assistant.audit, image.ref.study_instance_uid)
    model = assistant.model
    noticed = check_image(image, modalities=model.modalities if by_model else frozenset())
    # A model that only compares texts with images has no tokens of an image to measure.
    if not (by_model and hasattr(model, "calibration")):
        return noticed
    return (*noticed, *check_familiarity(model, image, unfamiliar=assistant.unfamiliar))


def _classify(assistant: Assistant, ordered: Ordered, warnings: tuple[Notice, ...]) -> Came:
    warnings = (*warnings, *_admit(assistant, ordered.image))
    enter("Weighing the options")
    content = classify(assistant.model, ordered.image, ordered.options, question=ordered.text)
    return Came(content=content, warnings=warnings)


def _compare(assistant: Assistant, ordered: Ordered, warnings: tuple[Notice, ...]) -> Came:
    model, prior, finding = assistant.model, ordered.prior, ordered.text
    if prior is None or finding is None or not answers(model):
        raise TaskError(
            "this model does not say how likely an answer is, so it cannot compare; use one of transformers' "
            "checkpoints, such as the default model"
        )
    for image in (ordered.image, prior):
        warnings = tuple(dict.fromkeys((*warnings, *_admit(assistant, image))))
    enter("Comparing the two images")
    return Came(content=compare(model, ordered.image, prior, finding), warnings=warnings)


def _read_text(assistant: Assistant, ordered: Ordered, warnings: tuple[Notice, ...]) -> Came:
    """By the engine; by a model that can, where there is none."""
    if not is_available() and prompted_for("ocr", ordered.model.model_type):
        return _prompt(assistant, ordered, warnings)
    engine = identify_engine()
    warnings = (*warnings, *_admit(assistant, ordered.image, by_model=False))
    enter("Reading text in the image")
    return Came(content=read_text(ordered.image), warnings=warnings, engine=engine)


def _prompt(assistant: Assistant, ordered: Ordered, warnings: tuple[Notice, ...]) -> Came:
    """Ask the model in its own words, and read what it writes."""
    task, model, image = cast("PromptedTask", ordered.task), assistant.model, ordered.image
    prompt = word_prompt(task, ordered.text, ordered.model.model_type)
    warnings = (*warnings, *_admit(assistant, image))
    enter("Asking the model where")
    generation = model.generate(image, prompt.words)
    content = _READING[task](model, image, prompt, generation)
    return Came(content=content, warnings=warnings, generation=generation, prompt=prompt.words)


_READING: dict[PromptedTask, Callable[..., Content]] = {
    "detect": read_boxes,
    "ground": read_boxes,
    "segment": read_masks,
    "ocr": read_lines,
}
_DOING: dict[Task, Callable[[Assistant, Ordered, tuple[Notice, ...]], Came]] = {
    "ocr": _read_text,
    "detect": _prompt,
    "ground": _prompt,
    "segment": _prompt,
    "classify": _classify,
    "compare": _compare,
}


def _of_answer(task: Task, text: str | None, answer: Answer) -> TaskResult:
    """A task that is one question has the row of its answer."""
    statement = state(answer)
    return TaskResult(
        result_id=answer.answer_id,
        audit_id=answer.audit_id,
        task=task,
        text=text,
        content=Reply(statement=statement) if task == "vqa" else Caption(statement=statement),
        answers=(answer,),
        image=answer.image,
        prior=None,
        model=answer.model,
        warnings=answer.warnings,
        created=answer.created,
        seconds=answer.seconds,
    )
