"""Which cases are learned from and which tell when to stop."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medvqa.cases import Case, divided_groups, read_cases
from medvqa.errors import TrainingError

_HELD_OUT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """The cases of one file, divided."""

    train: tuple[Case, ...]
    val: tuple[Case, ...]
    sha256: str
    """Of the file's bytes; what the images hold is not in it."""

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Cases and groups of both parts, and cases by kind."""
        return {name: _count(cases) for name, cases in (("train", self.train), ("val", self.val))}


def divide_cases(path: Path, *, seed: int) -> Division:
    """The file's own splits `train` and `val`; its test cases are left alone.

    Where no case is `val`, a tenth of the training groups is held out, drawn by `seed`. Where the file has no
    splits at all, every case may be drawn.

    Args:
        path: As for `read_cases`.
        seed: Of the draw.

    Raises:
        TrainingError: If the file cannot be read, a group is in both parts, or there are too few groups.
    """
    cases = read_cases(path)
    splits = {case.split for case in cases}
    train = tuple(case for case in cases if case.split == ("train" if splits != {None} else None))
    val = tuple(case for case in cases if case.split == "val")
    if not train:
        raise TrainingError(f"{path} holds no case whose split is train; correct the split of its lines")
    if not val:
        train, val = _hold_out(path, train, seed=seed)
    if both := divided_groups((*train, *val)):
        raise TrainingError(
            f"{len(both)} of the groups in {path} have cases in train and in val, so val could be learned by "
            "heart; give each group one split"
        )
    file = path / "cases.jsonl" if path.is_dir() else path
    return Division(train=train, val=val, sha256=hashlib.sha256(file.read_bytes()).hexdigest())


def _hold_out(path: Path, cases: Sequence[Case], *, seed: int) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    groups = sorted({case.group for case in cases})
    if len(groups) < 2:
        raise TrainingError(
            f"{path} holds cases of one group only, so none can be held out; add groups, or cases whose "
            "split is val"
        )
    count = max(1, round(_HELD_OUT * len(groups)))
    drawn = {groups[place] for place in np.random.default_rng(seed).permutation(len(groups))[:count]}
    return (
        tuple(case for case in cases if case.group not in drawn),
        tuple(case for case in cases if case.group in drawn),
    )


def _count(cases: Sequence[Case]) -> dict[str, int]:
    kinds = Counter(case.kind for case in cases)
    return {
        "cases": len(cases),
        "groups": len({case.group for case in cases}),
        **{f"kind {kind}": count for kind, count in sorted(kinds.items())},
    }
