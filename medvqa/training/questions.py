"""What the default model is asked in training: every kind of question, with the answer its picture allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from medvqa.simulation import Kind as Simulated
from medvqa.training import phrasing
from medvqa.training.phrasing import Language, phrase, say, word
from medvqa.training.wordings import chinese, unanswerable
from medvqa.training.wordings.written import read_wordings

if TYPE_CHECKING:
    import numpy as np

    from medvqa.simulation import Finding, Organ

Kind: TypeAlias = Literal[
    "modality",
    "organ",
    "abnormality",
    "finding_present",
    "brain_finding",
    "chest_finding",
    "breast_finding",
    "simulated_present",
    "simulated_side",
    "simulated_quadrant",
    "description",
    "two_part",
    "unanswerable",
]

CANNOT_TELL = "cannot be determined from this image"
CHINESE_SHARE = 0.15
"""Of the pictures, the share that is asked about in Chinese."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is known about one picture."""

    organ: Organ
    finding: str | None
    """As in the answers below; None for a phantom, of which no disease is asked."""
    simulated: Finding | None
    shape: tuple[int, int]
    """Rows and columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question with the answer that its picture allows."""

    kind: Kind
    question: str
    answer: str


MODALITY: Mapping[Organ, str] = MappingProxyType({"brain": "MRI", "chest": "X-ray", "breast": "ultrasound"})
NORMAL = ("no tumor", "no finding", "normal")
SIMULATED: tuple[Simulated, ...] = get_args(Simulated)
_FINDING_KINDS: Mapping[Organ, Kind] = MappingProxyType(
    {"brain": "brain_finding", "chest": "chest_finding", "breast": "breast_finding"}
)
_PLACES: tuple[tuple[Kind, str], ...] = (
    ("simulated_side", "nodule_side"),
    ("simulated_quadrant", "nodule_quadrant"),
)
_LOOKS_LIKE: Mapping[str, frozenset[Simulated]] = MappingProxyType(
    {
        "glioma": frozenset({"mass"}),
        "meningioma": frozenset({"mass"}),
        "pituitary tumor": frozenset({"mass"}),
        "benign": frozenset({"mass", "nodule"}),
        "malignant": frozenset({"mass", "nodule"}),
        "pneumonia": frozenset({"opacity"}),
    }
)
"""Simulated findings that somebody may rightly see in a picture of this disease where none was inserted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """One question before it has words: the name of its wordings, and its answer in English."""

    kind: Kind
    name: str
    answer: str
    simulated: Simulated = "nodule"


def ask_everything(
    content: Content, rng: np.random.Generator, *, held_out: bool = False, language: Language = "en"
) -> tuple[Asked, ...]:
    """One question of every kind that `content` has an answer to, each in a random wording.

    Args:
        content: What is known about the picture.
        rng: Draws the wordings.
        held_out: Only in the wordings that training never uses (English); kinds without such are left out.
        language: Of the questions and answers.
    """
    asked: list[Asked] = []
    for source in _sources(content, rng):
        if held_out:
            question = phrasing.held_out(source.name, rng, organ=content.organ, kind=source.simulated)
        elif source.name == "unanswerable" and language == "en":
            question = _unanswerable(content.organ, rng)
        else:
            question = word(source.name, rng, organ=content.organ, kind=source.simulated, language=language)
        if question is not None:
            answer = _describe(content, language) if source.kind == "description" else source.answer
            said = answer if source.kind == "description" else _say(answer, language)
            asked.append(Asked(kind=source.kind, question=question, answer=said))
    return tuple(asked)


def could_hide(content: Content, kind: Simulated) -> bool:
    """Whether the picture may show such a finding though none was inserted."""
    return kind in _LOOKS_LIKE.get(content.finding or "", frozenset())


def every_text(rng: np.random.Generator, *, count: int) -> list[str]:
    """`count` pictures' questions and all answers: what the tokenizer is made from."""
    organs: tuple[Organ, ...] = ("brain", "chest", "breast")
    findings = {"brain": "glioma", "chest": "no finding", "breast": "malignant"}
    texts = [text for pair in chinese.SAYINGS.items() for text in pair]
    for index in range(count):
        organ = organs[index % 3]
        content = Content(organ=organ, finding=findings[organ], simulated=None, shape=(2, 2))
        language: Language = "zh" if rng.random() < CHINESE_SHARE else "en"
        for one in ask_everything(content, rng, language=language):
            texts += [one.question, one.answer]
    return texts


def _sources(content: Content, rng: np.random.Generator) -> Iterator[_Source]:
    organ, finding = content.organ, content.finding
    modality = MODALITY[organ]
    yield _Source(kind="modality", name="modality", answer=modality)
    yield _Source(kind="organ", name="organ", answer=organ)
    yield from _about_simulated(content, rng)
    if finding is not None and content.simulated is None:
        yield from _about_finding(organ, finding, rng)
    if rng.random() < 0.5:
        yield _Source(kind="description", name="description", answer="")
    draw = rng.random()
    if draw < 0.25:
        yield _Source(kind="two_part", name="two_part_organ_modality", answer=f"{organ}, {modality}")
    elif draw < 0.5:
        yield _Source(kind="two_part", name="two_part_modality_organ", answer=f"{modality}, {organ}")
    elif finding is not None and content.simulated is None:
        state = "normal" if finding in NORMAL else "abnormal"
        yield _Source(kind="two_part", name="two_part_organ_abnormality", answer=f"{organ}, {state}")
    yield _Source(kind="unanswerable", name="unanswerable", answer=CANNOT_TELL)
    yield _Source(kind="unanswerable", name="unanswerable", answer=CANNOT_TELL)


def _about_simulated(content: Content, rng: np.random.Generator) -> Iterator[_Source]:
    """Of the finding that is there, and of one that is not."""
    present = content.simulated
    others: list[Simulated] = [
        kind
        for kind in SIMULATED
        if not could_hide(content, kind) and (present is None or kind != present.kind)
    ]
    absent = others[int(rng.integers(len(others)))]
    if present is None or rng.random() < 0.4:
        yield _yes_or_no("simulated_present", "nodule_present", yes=False, rng=rng, simulated=absent)
        for kind, name in _PLACES:
            if rng.random() < 0.12:
                yield _Source(kind=kind, name=name, answer=f"there is no {absent}", simulated=absent)
        if rng.random() < 0.1:
            yield _Source(kind="two_part", name="two_part_nodule", answer="no", simulated=absent)
    if present is None:
        return
    quadrant = f"{present.quadrant(content.shape)} quadrant"
    side = f"{present.side(content.shape)} side of the image"
    yield _yes_or_no("simulated_present", "nodule_present", yes=True, rng=rng, simulated=present.kind)
    yield _Source(kind="simulated_side", name="nodule_side", answer=side, simulated=present.kind)
    yield _Source(kind="simulated_quadrant", name="nodule_quadrant", answer=quadrant, simulated=present.kind)
    if rng.random() < 0.3:
        yield _Source(
            kind="two_part", name="two_part_nodule", answer=f"yes, {quadrant}", simulated=present.kind
        )


def _about_finding(organ: Organ, finding: str, rng: np.random.Generator) -> Iterator[_Source]:
    normal = finding in NORMAL
    if rng.random() < 0.6:
        yield _Source(kind="abnormality", name="abnormality", answer="normal" if normal else "abnormal")
    else:
        yield _Source(kind="abnormality", name="is_normal", answer="yes" if normal else "no")
    name = f"{organ}_present" if rng.random() < 0.6 else "finding_present"
    yield _yes_or_no("finding_present", name, yes=not normal, rng=rng)
    kind = _FINDING_KINDS[organ]
    yield _Source(kind=kind, name=kind, answer=finding)
    yield _Source(kind=kind, name="finding", answer=finding)


def _yes_or_no(
    kind: Kind, name: str, *, yes: bool, rng: np.random.Generator, simulated: Simulated = "nodule"
) -> _Source:
    """Asked whether it is there, or one time in four whether it is not."""
    if rng.random() < 0.25:
        return _Source(kind=kind, name=f"{name}_absent", answer="no" if yes else "yes", simulated=simulated)
    return _Source(kind=kind, name=name, answer="yes" if yes else "no", simulated=simulated)


def _unanswerable(organ: Organ, rng: np.random.Generator) -> str:
    others, written = unanswerable.OF_ANOTHER_ORGAN[organ], read_wordings("unanswerable")
    draw = rng.random()
    wordings = others if draw < 0.1 else unanswerable.WORDINGS if draw < 0.4 else written
    return phrase(wordings[int(rng.integers(len(wordings)))], rng, organ=organ)


def _say(answer: str, language: Language) -> str:
    """Of an answer in two parts each."""
    mark = "，" if language == "zh" else ", "
    return mark.join(say(part, language) for part in answer.split(", "))


def _describe(content: Content, language: Language) -> str:
    """One sentence: how it was imaged, what, and what is seen."""
    organ, modality, found = content.organ, MODALITY[content.organ], content.simulated
    if language == "zh":
        start = f"这是{say(organ, language)}的{say(modality, language)}图像"
        if found is not None:
            place = say(f"{found.quadrant(content.shape)} quadrant", language)
            return f"{start}，可见{chinese.FINDINGS[found.kind][0]}，位于{place}。"
        return f"{start}。" if content.finding is None else f"{start}，{say(content.finding, language)}。"
    start = f"This is {'a chest X-ray' if organ == 'chest' else f'an {modality} of the {organ}'}"
    if found is not None:
        article = "an" if found.kind == "opacity" else "a"
        return f"{start} with {article} {found.kind} in the {found.quadrant(content.shape)} quadrant."
    if content.finding is None:
        return f"{start}."
    return f"{start} that shows {_SHOWN[content.finding]}."


_SHOWN: Mapping[str, str] = MappingProxyType(
    {
        "glioma": "a glioma",
        "meningioma": "a meningioma",
        "pituitary tumor": "a pituitary tumor",
        "no tumor": "no tumor",
        "pneumonia": "pneumonia",
        "no finding": "no finding",
        "benign": "a benign lesion",
        "malignant": "a malignant lesion",
        "normal": "normal tissue",
    }
)
"""How a description names what is there."""
