"""Answering a recorded question again, from what its row pins."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from audit import JSON, Entry, Log
from audit.actions import Action
from medvqa import records
from medvqa.checks import check_answer
from medvqa.checks.familiarity import check_familiarity
from medvqa.heatmaps import HEATMAPS
from medvqa.models.checkpoints import adapter_sha256, find_checkpoint, tokenizer_sha256, weights_sha256
from medvqa.models.huggingface import HuggingFaceModel
from medvqa.models.loading import load_model
from medvqa.models.precision import PRECISIONS
from medvqa.records import Agent, Outcome, describe_answer, heatmap_sha256
from medvqa.replay.differences import (
    Difference,
    Replay,
    compare_circumstances,
    compare_files,
    compare_outputs,
)
from medvqa.replay.images import recreate_image
from medvqa.replay.recorded import Recorded, compare_leaves, explaining_rows, find_row, read_recorded

if TYPE_CHECKING:
    from medvqa.types import HeatmapMethod, Image

MEDVQA = Agent(name="medvqa")
"""The program itself."""


def replay_answer(
    log: Log,
    reference: str,
    study: str | Path,
    *,
    model: str | Path | None = None,
    adapter: str | Path | None = None,
    by: Agent = MEDVQA,
) -> Replay:
    """Answer a recorded question again, compare, and record that it was done.

    The image is shown by the transforms that the row lists, and the model runs as it ran: on the recorded
    kind of device where there is one, with the recorded number of threads, greedily, one question at a time:
    numbers of an answer that was given together with others may be off by `differences.ROUNDING`.
    Where the row, the image or a file of the model is another one, that is named and the model does not run.
    Other versions of libraries, another device or another prompt are named, and it does.

    The row is checked against its own leaf hash. That nobody rewrote both is for `audit.Log.verify` to tell.

    Args:
        log: The trail that holds the answer, and takes the record of this replay.
        reference: The number of the answer's row, or the answer's id.
        study: The file, folder or ZIP archive that holds the image.
        model: Folder or name of the model; by default the recorded one.
        adapter: Folder or name of the adapter; by default the recorded one.
        by: Who asks for the replay.

    Raises:
        ReadError: If the trail holds no such answer, or its row is archived or lacks what a replay needs.
        DicomError: If nothing can be read at `study`.
        ModelError: If model or adapter are not found or cannot be loaded.
        RecordError: If the trail did not take the event; then nothing is told.
    """
    row = find_row(log, reference)
    explaining = explaining_rows(log, row)
    if altered := tuple(compare_leaves([row, *explaining])):
        found = Replay(row=row.sequence, answer_id=str(row.subject), differences=altered, reproduced=None)
        # Nothing is taken over from a row that cannot be believed, but what it is called.
        told = Entry(
            agent=by.name,
            role=by.role,
            action=Action.REPLAY,
            subject=found.answer_id,
            entity=_describe(found),
        )
    else:
        recorded = read_recorded(row, explaining)
        found = _replay(recorded, Path(study), model=model, adapter=adapter)
        told = records.replay(by, recorded.event, entity=_describe(found))
    records.record(log, told)
    return found


def _replay(
    recorded: Recorded, study: Path, *, model: str | Path | None, adapter: str | Path | None
) -> Replay:
    image, around = recreate_image(study, recorded.image, recorded.applied)
    if image is None:
        return _found(recorded, around)
    # A file that is another one is not even opened by a model library.
    sources = model or recorded.model["name"], adapter or recorded.model["adapter"]
    if changed := list(compare_files(recorded.model, _digest_files(*sources))):
        return _found(recorded, [*changed, *around])
    parameters = recorded.model["parameters"]
    with _threads(parameters["threads"]):
        loaded = load_model(
            sources[0],
            adapter=sources[1],
            device=_available(parameters["device"]),
            precision=PRECISIONS.get(parameters["dtype"]),
            max_new_tokens=parameters["max_new_tokens"],
        )
        around += compare_circumstances(recorded.model, loaded.identity)
        outputs = list(compare_outputs(recorded.output, _answer(recorded, loaded, image)))
    return _found(recorded, [*around, *outputs], reproduced=not outputs)


def _found(recorded: Recorded, differences: list[Difference], *, reproduced: bool | None = None) -> Replay:
    event = recorded.event
    return Replay(
        row=event.sequence, answer_id=event.subject, differences=tuple(differences), reproduced=reproduced
    )


def _answer(recorded: Recorded, model: HuggingFaceModel, image: Image) -> dict[str, Any]:
    """Ask again, and describe the answer by the keys of `Recorded.output`."""
    question = recorded.question
    generation = model.generate(image, question)
    familiar = not check_familiarity(model, image, unfamiliar="warn")
    checks = check_answer(model, image, question, generation, familiar=familiar)
    described = describe_answer(Outcome(generation=generation, checks=checks, heatmap=None, warnings=()))
    methods: list[HeatmapMethod] = [method for method in HEATMAPS if method in recorded.output["heatmaps"]]
    made = {method: HEATMAPS[method](model, image, question, generation) for method in methods}
    return {**described, "heatmaps": {method: heatmap_sha256(heatmap) for method, heatmap in made.items()}}


def _digest_files(model: str | Path, adapter: str | Path | None) -> dict[str, str | None]:
    folder = find_checkpoint(model)
    return {
        "weights_sha256": weights_sha256(folder),
        "adapter_sha256": None if adapter is None else adapter_sha256(find_checkpoint(adapter)),
        "tokenizer_sha256": tokenizer_sha256(folder),
    }


def _available(device: str) -> str:
    """The recorded kind of device, or the processor where this machine has none of that kind."""
    found = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    return device if device in found and found[device]() else "cpu"


@contextmanager
def _threads(count: int) -> Generator[None]:
    """Compute with so many threads: how a sum is split among them may change its last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _describe(found: Replay) -> dict[str, JSON]:
    """What the trail keeps of a replay."""
    # Without notes: they may name a file, and names of files may be those of patients.
    first = [asdict(difference) for difference in found.differences[:1]]
    told = [{name: one[name] for name in ("what", "recorded", "found")} for one in first]
    return {
        "row": found.row,
        "identical": found.identical,
        "reproduced": found.reproduced,
        "first_difference": told[0] if told else None,
        "differences": [difference.what for difference in found.differences],
    }
