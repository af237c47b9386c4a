"""Writing simulated findings: a folder a finding, one table of all, and all questions as cases."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from itertools import islice, takewhile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import numpy as np

from medvqa import cases
from medvqa.digests import digest_pixels
from medvqa.errors import GateError, MedvqaError
from medvqa.simulated_findings.instances import (
    NAME,
    WHITE,
    Case,
    image_instance,
    segmentation_instance,
    store,
)
from medvqa.simulated_findings.origins import Origin, given_turns, phantom_turns
from medvqa.simulated_findings.reading import PATHS, TABLE, Asked, SimulatedFinding
from medvqa.simulated_findings.records import CASES, list_cases
from medvqa.simulation import Kind, Side, insert_finding, place_finding

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

Stored: TypeAlias = "NDArray[np.uint16]"
KINDS: tuple[Kind, ...] = get_args(Kind)
_PHANTOM_FINDINGS = 15  # each kind on each organ's phantom
_MIRRORED: Mapping[Side, Side] = MappingProxyType({"left": "right", "right": "left"})
_ROLES = ("with", "without", "mirrored", "with-truth", "mirrored-truth")
"""Names of the files of a finding, in the order of `PATHS`."""


def ignore(_: object) -> None:
    """Do nothing with what is reported."""


def write_findings(
    folder: str | Path,
    *,
    sources: Sequence[Path] = (),
    kinds: Sequence[Kind] = KINDS,
    count: int | None = None,
    seed: int = 0,
    on_written: Callable[[SimulatedFinding], None] = ignore,
    on_skipped: Callable[[MedvqaError], None] = ignore,
) -> tuple[SimulatedFinding, ...]:
    """Write simulated findings as DICOM, each with its twin without, its mirror image and two SEGs.

    The same arguments write the same images and masks; only the SEGs' dates differ.

    Args:
        folder: Made if need be; must hold no table of findings and no cases yet.
        sources: Files and folders to take images from in turn; phantoms where there are none.
        kinds: What to insert in turn, so that in the end every image meets every kind.
        count: How many findings; None for one on each image, or 15 on phantoms.
        seed: Of phantoms, places and shapes.
        on_written: Told of each finding once its files are there.
        on_skipped: Told once of each file of a folder that holds no usable image.

    Returns:
        What `read_findings` reads back.

    Raises:
        DicomError: If a source holds no usable image.
        GateError: If a source is blank, tiny or much longer than wide, or a finding cannot be seen on it.
        OSError: If the folder cannot be written to, or holds findings already.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / TABLE).exists() or (folder / CASES).exists():
        raise FileExistsError(errno.EEXIST, "it holds findings already, so name another folder", str(folder))
    turns = given_turns(sources, on_skipped=on_skipped) if sources else phantom_turns(seed)
    if count is None and sources:
        turns = takewhile(lambda turn: turn.finished_rounds == 0, turns)
    else:
        turns = islice(turns, _PHANTOM_FINDINGS if count is None else count)
    written: list[SimulatedFinding] = []
    asked: list[cases.Case] = []
    for number, turn in enumerate(turns, start=1):
        # One step further each round: else three images and three kinds would meet in one way only.
        kind = kinds[(turn.place + turn.finished_rounds) % len(kinds)]
        finding, about = _write_finding(folder, turn.origin, kind, number=number, seed=seed)
        written.append(finding)
        asked.extend(about)
        on_written(finding)
    # Last, so that a folder with a table is a complete one.
    cases.write_cases(folder / CASES, asked)
    lines = [json.dumps(_describe(one, folder)) + "\n" for one in written]
    (folder / TABLE).write_text("".join(lines), encoding="utf-8")
    return tuple(written)


def _write_finding(
    folder: Path, origin: Origin, kind: Kind, *, number: int, seed: int
) -> tuple[SimulatedFinding, tuple[cases.Case, ...]]:
    without = store(origin.pixels)
    pixels = (without / WHITE).astype(np.float32)
    placed = place_finding(kind, pixels, np.random.default_rng((seed, number)))
    present = store(insert_finding(pixels, placed))
    if not (present != without).any():
        raise GateError(f"{kind} {number} cannot be seen on its image, which is bright; name another seed")
    case = Case(
        identifier=f"{NAME}-{seed}-{number}",
        entropy=f"{seed} {number} {digest_pixels(present)}",
        version=_own_version(),
    )
    shape = (present.shape[0], present.shape[1])
    side, quadrant = placed.side(shape), placed.quadrant(shape)
    finding = SimulatedFinding(
        number=number,
        kind=kind,
        **_write_files(folder / f"{number:04}-{kind}", origin, without, present, kind=kind, case=case),
        origin=origin.name,
        modality=origin.modality,
        rows=shape[0],
        columns=shape[1],
        side=side,
        quadrant=quadrant,
        row=placed.row,
        column=placed.column,
        size=placed.size,
        contrast=placed.contrast,
        seed=seed,
        questions=_ask(kind, side, quadrant),
    )
    # Several findings may be put into one image: its content ties them together.
    return finding, list_cases(finding, present != without, group=digest_pixels(without)[:16])


def _write_files(
    folder: Path, origin: Origin, without: Stored, present: Stored, *, kind: Kind, case: Case
) -> dict[str, Path]:
    """Write five files and return their paths by the names of `PATHS`."""
    folder.mkdir(exist_ok=True)
    roles = {"without": without, "with": present, "mirrored": present[:, ::-1]}
    images = {
        role: image_instance(stored, role=role, origin=origin, case=case) for role, stored in roles.items()
    }
    mask = present != without
    written: dict[str, Dataset] = {
        **images,
        "with-truth": segmentation_instance(images["with"], mask, kind=kind, case=case),
        "mirrored-truth": segmentation_instance(images["mirrored"], mask[:, ::-1], kind=kind, case=case),
    }
    paths = {role: folder / f"{role}.dcm" for role in written}
    for role, dataset in written.items():
        dataset.save_as(paths[role], enforce_file_format=True)
    return {name: paths[role] for name, role in zip(PATHS, _ROLES, strict=True)}


def _ask(kind: Kind, side: Side, quadrant: str) -> tuple[Asked, ...]:
    """Yes or no, quadrant and side, in words that the default model was trained on where it was."""
    half = quadrant.split()[0]
    absent = f"there is no {kind}"
    return (
        Asked(
            question=f"Is there {'an' if kind == 'opacity' else 'a'} {kind}?",
            answer="yes",
            answer_without="no",
            answer_mirrored="yes",
        ),
        Asked(
            question=f"Where is the {kind}?",
            answer=f"{quadrant} quadrant",
            answer_without=absent,
            answer_mirrored=f"{half} {_MIRRORED[side]} quadrant",
        ),
        Asked(
            question=f"On which side is the {kind}?",
            answer=f"{side} side of the image",
            answer_without=absent,
            answer_mirrored=f"{_MIRRORED[side]} side of the image",
        ),
    )


def _describe(finding: SimulatedFinding, folder: Path) -> dict[str, Any]:
    """The finding's line of the table, paths relative to its folder."""
    paths = {name: getattr(finding, name).relative_to(folder).as_posix() for name in PATHS}
    return asdict(finding) | paths


def _own_version() -> str:
    try:
        return version("medvqa")
    except PackageNotFoundError:
        return "not installed"
