"""Running a batch: three steps as a stream of Ray Data, which overlap, on this machine or a cluster."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from medvqa.batch.folder import BatchFolder
from medvqa.batch.plan import Batch, Progress
from medvqa.batch.tables import write_tables
from medvqa.errors import BatchError

try:
    import ray
    from ray.data import ActorPoolStrategy, DataContext
    from ray.exceptions import RayError

    from medvqa.batch.rows import COLUMN, as_row, dump, load
except ImportError as error:
    raise BatchError("batches need Ray Data; install it with pip install 'medvqa[batch]'") from error

if TYPE_CHECKING:
    from medvqa.batch.sources import StudySource

_WAIT_S = 60.0
"""How long the processes of a killed run may take to end."""
_MODEL_SHARE = 0.7
"""Of the cores, for the processes that answer, where there is no GPU; the others read and write."""


def run_batch(
    batch: Batch, sources: Sequence[StudySource], *, on_progress: Callable[[Progress], None] = lambda _: None
) -> Progress:
    """Ask the question set about every study, and write its reports; what an earlier run did is not repeated.

    Reading and decoding of the next studies go on while the model answers, and so does writing of reports.
    Each process that answers takes several studies at a time. One that dies is replaced, and what it had not
    finished is taken up again: answers that are in the trail are not asked for anew.

    Args:
        batch: What to do.
        sources: From `medvqa.batch.find_studies`.
        on_progress: Called at the beginning and with each study that is done.

    Raises:
        BatchError: If another batch is in the folder, another run is at work on it, or Ray does not start.
        RecordError: If the trail did not take an event: then the batch stops.
        ModelError: If the model cannot be loaded.
        TemplateError: If the template of the settings cannot be used.
    """
    batch = replace(batch, folder=batch.folder.absolute())
    folder = BatchFolder(path=batch.folder)
    folder.begin(_describe(batch))
    with folder.alone(wait_s=_WAIT_S):
        waiting = [source for source in sources if not folder.is_done(source.key)]
        ended = Counter(outcome["status"] for outcome in folder.outcomes())
        total = ended.total() + len(waiting)
        on_progress(_count(ended, total))
        for status in _stream(batch, waiting) if waiting else ():
            ended[status] += 1
            on_progress(_count(ended, total))
        write_tables(folder)
    return _count(ended, total)


def _describe(batch: Batch) -> dict[str, Any]:
    """What makes two batches one."""
    template = batch.settings.report_template
    return {
        "questions": batch.questions.sha256,
        "model": batch.settings.model,
        "adapter": batch.settings.adapter,
        "forms": list(batch.forms),
        "template": None if template is None else _named("medvqa.reports:read_template")(template).sha256,
    }


def _count(ended: Counter[str], total: int) -> Progress:
    return Progress(
        total=total,
        done=ended.total(),
        answered=ended["answered"],
        refused=ended["refused"],
        failed=ended["failed"],
    )


def _stream(batch: Batch, sources: Sequence[StudySource]) -> Iterator[str]:
    """The status of each study as it is done."""
    _start(batch.address)
    try:
        for row in _plan(batch, sources).iter_rows():
            ended = load(row[COLUMN])
            if isinstance(ended, Exception):
                raise ended
            yield ended
    except RayError as error:
        raise BatchError(
            f"a process of the batch broke ({type(error).__name__}); repeat the command, which goes on where "
            "it stopped"
        ) from error
    finally:
        ray.shutdown()


def _plan(batch: Batch, sources: Sequence[StudySource]) -> ray.data.Dataset:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = False
    context.memory_usage_poll_interval_s = None  # each look takes 20 ms, every second, in every process
    resources: Any = ray.cluster_resources()
    cores, gpus = max(1, int(resources.get("CPU", 1))), int(resources.get("GPU", 0))
    actors = min(batch.actors or gpus or cores, -(-len(sources) // batch.together))
    dumped = dump(batch)
    model_share, beside = _share_cores(cores, actors, gpus=gpus)
    stream = ray.data.from_items(
        [as_row(source) for source in sources], override_num_blocks=max(1, len(sources) // batch.together)
    )
    if any(source.node for source in sources):
        stream = stream.map(_Step(name="medvqa.batch.fetching:fetch", batch=dumped), num_cpus=beside)
    return (
        stream.map(_Step(name="medvqa.batch.steps:read", batch=dumped), num_cpus=beside)
        .map_batches(
            _Answerer,
            fn_constructor_args=(dumped, max(1, cores // actors)),
            batch_size=batch.together,
            batch_format="numpy",
            num_cpus=model_share,
            num_gpus=1 if gpus else 0,
            compute=ActorPoolStrategy(size=actors),
        )
        .map(_Step(name="medvqa.batch.steps:report", batch=dumped), num_cpus=beside)
    )


def _share_cores(cores: int, actors: int, *, gpus: int) -> tuple[float, float]:
    """Cores for a process that answers, and for one that reads or writes beside it.

    Without a GPU, half as many of the latter as there are cores fit beside those that answer: each takes
    seconds of a core to start.
    """
    if gpus:
        return 1, 1
    left = (1 - _MODEL_SHARE) * cores / max(1, cores // 2)
    return min(1.0, round(_MODEL_SHARE * cores / actors, 2)), round(left, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A step by its name: Ray's processes import the model libraries, which take seconds."""

    name: str
    batch: bytes

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return _named(self.name)(row, self.batch)


class _Answerer:
    """`medvqa.batch.steps.Answerer`, by its name too."""

    def __init__(self, batch: bytes, threads: int) -> None:
        self._answer = _named("medvqa.batch.steps:Answerer")(batch, threads)

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        return self._answer(rows)


def _named(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


def _start(address: str | None) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # or Ray would send statistics home
    # It warns, in C++, that actors cannot start anew once their arguments are lost: this process keeps them.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # A process that read studies writes reports later, rather than a new one that imports all libraries anew.
    os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", "600000")
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BatchError(
            "Ray cannot start on this machine; end what is left of an earlier run, or free memory"
            if address is None
            else f"no Ray cluster answers at {address}; start one with ray start, or leave --address out"
        ) from error
