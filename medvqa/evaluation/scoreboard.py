"""The honest scoreboard: a model beside three that never saw the image, under every definition."""

from __future__ import annotations

import resource
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from medvqa.errors import TrainingError
from medvqa.evaluation.calibration import calibration_error
from medvqa.evaluation.metrics import MARKS, is_refusal, mark_best

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medvqa.cases import Case, Split
    from medvqa.evaluation.answers import Answers, Said

FIGURES = (*MARKS, "unanswerable_refused", "answerable_refused")
"""What each row has: means over the cases that a figure applies to, in [0, 1]."""
ROWS = ("model", "blank_image", "other_image", "majority")
RESAMPLES = 1000
_AT_ONCE = 50
"""Resamples that are held in memory together."""
UNANSWERABLE = "unanswerable"
"""Kind of the questions that no image answers."""

MajoritySource: TypeAlias = Literal["train", "measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Figures of one row, or of the questions of one kind in it."""

    cases: int
    groups: int
    figures: Mapping[str, float | None]
    """By name, of `FIGURES`; None where no case has it."""
    intervals: Mapping[str, tuple[float, float] | None]
    """95 % bootstrap intervals, groups resampled, percentile method."""
    by_kind: Mapping[str, Row] = field(default_factory=dict[str, "Row"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoreboard:
    """All rows, and what stands beside accuracy."""

    rows: Mapping[str, Row]
    """By `ROWS`."""
    majority_from: MajoritySource
    """Which cases the most frequent answers were counted on. Counted on those that are measured, they know
    how often each answer is right, which no model does."""
    calibration_error: float
    """Of the model's confidence, 15 bins of equal width, in [0, 1]."""
    calibrated: bool
    """Whether that confidence was calibrated, for all cases that are like its training images."""
    abstained: float
    """Share of the cases to which `medvqa ask` would say that it can't tell. They count as answered here."""
    gate_refused: int
    """Cases whose image `medvqa ask` would refuse: nothing to see, or a strip."""
    unfamiliar: int
    """Cases whose image it would refuse as unlike any in training."""
    not_asked: int
    """Cases whose question the model cannot read: they count as answered with nothing."""
    seconds_per_answer: float
    tokens_per_second: float
    peak_memory_mb: float
    """Of this process so far, in 2 ** 20 bytes."""


def choose_split(cases: Sequence[Case], split: Split | None) -> tuple[Case, ...]:
    """The cases to measure: of `split`, or else those that are held back as far as the file says so.

    Those are `test` and cases without a split; failing those, `val`; failing those, all.

    Raises:
        TrainingError: If there is none of that split.
    """
    if split is not None:
        chosen = tuple(case for case in cases if case.split == split)
        if not chosen:
            raise TrainingError(f"no case has the split {split}; name another, or leave --split out")
        return chosen
    held_back = tuple(case for case in cases if case.split in ("test", None))
    return held_back or tuple(case for case in cases if case.split == "val") or tuple(cases)


def measure(
    cases: Sequence[Case], answers: Answers, training: Sequence[Case] = (), *, seed: int = 0
) -> Scoreboard:
    """Score all rows.

    Args:
        cases: What was asked.
        answers: What the model said, controls included.
        training: Where the most frequent answers are counted; on `cases` where it is empty.
        seed: Of the bootstrap.
    """
    usual = most_frequent(training or cases)
    texts: dict[str, Sequence[str]] = {
        "model": [one.text for one in answers.said],
        "blank_image": answers.blank_image,
        "other_image": answers.other_image,
        "majority": [usual.get(case.kind, usual[""]) for case in cases],
    }
    said = answers.said
    return Scoreboard(
        rows={name: score_row(cases, texts[name], seed=seed) for name in ROWS},
        majority_from="train" if training else "measured",
        calibration_error=_miscalibration(cases, said),
        calibrated=all(one.calibrated or one.gate for one in said) and any(one.calibrated for one in said),
        abstained=float(np.mean([one.abstains for one in said])),
        gate_refused=sum(one.gate == "refused" for one in said),
        unfamiliar=sum(one.gate == "unfamiliar" for one in said),
        not_asked=sum(one.generation is None for one in said),
        seconds_per_answer=answers.seconds / len(cases),
        tokens_per_second=answers.tokens / answers.seconds if answers.seconds else 0.0,
        peak_memory_mb=peak_memory_mb(),
    )


def most_frequent(cases: Sequence[Case]) -> dict[str, str]:
    """The most frequent answer of each kind, and under the empty name that of all."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for case in cases:
        counts[case.kind][case.answer] += 1
        counts[""][case.answer] += 1
    return {kind: min(found, key=lambda one: (-found[one], one)) for kind, found in counts.items()}


def score_row(cases: Sequence[Case], texts: Sequence[str], *, seed: int = 0) -> Row:
    """Figures of these answers, with intervals, as a whole and by kind of question."""
    marks = mark_all(cases, texts)
    groups = np.unique([case.group for case in cases], return_inverse=True)[1]
    kinds = np.array([case.kind for case in cases])
    by_kind = {
        kind: _row(marks[kinds == kind], groups[kinds == kind], seed=seed) for kind in sorted(set(kinds))
    }
    return _row(marks, groups, seed=seed, by_kind=by_kind)


def mark_all(cases: Sequence[Case], texts: Sequence[str]) -> NDArray[np.float64]:
    """Marks of each answer, shape (cases, `FIGURES`), NaN where one does not apply."""
    rows: list[list[float]] = []
    for case, text in zip(cases, texts, strict=True):
        refused = float(is_refusal(text))
        known = mark_best(text, (case.answer, *case.also), case.answer_type) | {
            "unanswerable_refused": None if is_answerable(case) else refused,
            "answerable_refused": refused if is_answerable(case) else None,
        }
        rows.append([np.nan if (value := known[name]) is None else value for name in FIGURES])
    return np.array(rows)


def is_answerable(case: Case) -> bool:
    """Whether the image has an answer: by its kind, and by the right answer."""
    return case.kind != UNANSWERABLE and not is_refusal(case.answer)


def peak_memory_mb() -> float:
    """The most that this process has held, in 2 ** 20 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _row(
    marks: NDArray[np.float64],
    groups: NDArray[np.intp],
    *,
    seed: int,
    by_kind: Mapping[str, Row] | None = None,
) -> Row:
    members = np.unique(groups, return_inverse=True)[1]
    count = int(members.max()) + 1
    sums, sizes = np.zeros((count, marks.shape[1])), np.zeros((count, marks.shape[1]))
    np.add.at(sums, members, np.nan_to_num(marks))
    np.add.at(sizes, members, ~np.isnan(marks))
    drawn = _resample(sums, sizes, np.random.default_rng(seed))
    figures: dict[str, float | None] = {}
    intervals: dict[str, tuple[float, float] | None] = {}
    for place, name in enumerate(FIGURES):
        known = sizes[:, place].sum()
        figures[name] = float(sums[:, place].sum() / known) if known else None
        low, high = np.nanquantile(drawn[:, place], (0.025, 0.975)) if known else (0.0, 0.0)
        intervals[name] = (float(low), float(high)) if known else None
    return Row(
        cases=len(marks), groups=count, figures=figures, intervals=intervals, by_kind=dict(by_kind or {})
    )


def _resample(
    sums: NDArray[np.float64], sizes: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Means over groups drawn with replacement, shape (resamples, figures); NaN where none has the figure."""
    count = len(sums)
    drawn: list[NDArray[np.float64]] = []
    with np.errstate(invalid="ignore"):
        for _ in range(RESAMPLES // _AT_ONCE):
            weights = rng.multinomial(count, np.full(count, 1 / count), size=_AT_ONCE).astype(np.float64)
            drawn.append((weights @ sums) / (weights @ sizes))
    return np.concatenate(drawn)


def _miscalibration(cases: Sequence[Case], said: Sequence[Said]) -> float:
    exact = mark_all(cases, [one.text for one in said])[:, FIGURES.index("exact_match")] == 1
    return calibration_error(np.array([one.confidence for one in said]), exact)
