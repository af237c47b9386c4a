"""Several copies of the model on Ray Serve, behind the same application: `medvqa serve --replicas`.

The application stays in this process, so that who calls, how often, and what is counted is known in one
place. A study goes to a replica as the bytes that were sent, for a patient's identity is not pickled; what is
recorded is recorded by the replica, at the same trail.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from medvqa.errors import ServiceError

if find_spec("ray") is None:
    raise ServiceError("replicas need Ray Serve; install it with pip install 'medvqa[replicas]'")
# Ray would tell its makers about this cluster.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
import torch
from ray import serve

from audit import Log
from medvqa.opening import NamedModel, named_model, open_model
from medvqa.service.answering import ANSWER_SECONDS
from medvqa.service.app import build_app, guarded
from medvqa.service.callers import Door
from medvqa.service.desk import Desk, Posed, Words
from medvqa.service.metrics import Metrics
from medvqa.service.problems import RequestError, as_request_error
from medvqa.service.rates import Rates
from medvqa.service.reading_requests import uploaded
from medvqa.service.routing import Service
from medvqa.service.running import Certificate, listen, run
from medvqa.service.turns import TOGETHER
from medvqa.sessions import begin_configured_session

if TYPE_CHECKING:
    from medvqa.service.answering import Asked
    from medvqa.service.callers import Caller
    from medvqa.service.turns import Came
    from medvqa.settings import Settings
    from medvqa.types import HeatmapMethod, WindowName

_OBJECT_STORE_BYTES = 256 << 20
"""Of Ray, where it is started here: what is sent lies there between this process and a replica."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A question with its files, as it goes to a replica."""

    caller: Caller
    files: tuple[bytes, ...]
    question: str
    image_number: int | None
    heatmap: HeatmapMethod | None
    window: WindowName | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Why a replica gave no answer; the fields are those of `RequestError`."""

    status: int
    kind: str
    message: str


class Replica:
    """One copy of the model, at the trail of all; made by Ray Serve."""

    def __init__(self, named: NamedModel, settings: Settings, threads: int) -> None:
        torch.set_num_threads(threads)
        self._desk = Desk(
            open_model(named), log=Log(settings.audit_url), settings=settings, metrics=Metrics()
        )

    async def answer(self, sent: Sent) -> Came | Failed:
        """The answer as JSON, of this replica or of the trail."""
        with TemporaryDirectory(prefix="medvqa-replica-") as folder:
            try:
                posed, known = await asyncio.to_thread(self._prepare, sent, Path(folder))
            except Exception as error:  # what went wrong is told by whoever has the caller
                return _failed(error)
            return known if known is not None else await self._take(posed)

    async def reply(self, words: Words) -> Came | Failed:
        """What the model says to words without an image, as JSON."""
        return await self._take(words)

    @serve.batch(max_batch_size=TOGETHER, batch_wait_timeout_s=0.0)
    async def _take(self, batch: list[Posed | Words]) -> list[Came | Failed]:
        """What waited while the batch before was answered."""
        came = await asyncio.to_thread(self._desk.take, batch)
        return [_failed(one) if isinstance(one, Exception) else one for one in came]

    def _prepare(self, sent: Sent, folder: Path) -> tuple[Posed, Came | None]:
        for number, content in enumerate(sent.files, 1):
            (folder / f"uploaded file {number}").write_bytes(content)
        study = self._desk.open(sent.caller, uploaded(folder), window=sent.window)
        posed = self._desk.pose(
            sent.caller, study, sent.question, image_number=sent.image_number, heatmap=sent.heatmap
        )
        return posed, None if sent.heatmap is not None else self._desk.recall(posed)


class Replicas:
    """Answers by whichever replica has the fewest questions."""

    def __init__(self, handle: Any, metrics: Metrics) -> None:
        self._handle = handle
        self._metrics = metrics

    async def answer(self, asked: Asked) -> Came:
        """As of `medvqa.service.answering.Answering`."""
        sent = await asyncio.to_thread(_pack, asked)
        came = await self._wait(self._handle.answer.remote(sent))
        if came["recalled"] is None:
            self._metrics.answers.labels(came["checks"]["verdict"]).inc()
        else:
            self._metrics.recalled.inc()
        return came

    async def reply(self, caller: Caller, words: str) -> Came:
        """As of `medvqa.service.answering.Answering`."""
        return await self._wait(self._handle.reply.remote(Words(caller=caller, text=words)))

    async def _wait(self, response: Any) -> Came:
        try:
            came: Came | Failed = await asyncio.wait_for(response, ANSWER_SECONDS)
        except TimeoutError as error:
            message = f"no answer came within {ANSWER_SECONDS} s; ask again"
            raise RequestError(status=504, kind="TooSlow", message=message) from error
        if isinstance(came, Failed):
            if came.kind == "Refused":
                self._metrics.refusals.inc()
            raise RequestError(status=came.status, kind=came.kind, message=came.message)
        return came


def run_replicas(
    settings: Settings,
    *,
    host: str,
    port: int,
    replicas: int,
    address: str | None = None,
    certificate: Certificate | None = None,
) -> None:
    """Answer requests by replicas until SIGTERM or SIGINT; see `medvqa.service.running.run`.

    Args:
        settings: See `medvqa.settings`. Replicas on other machines find the model, the trail and the folder
            of keys under the same names.
        host: Address that this process listens on.
        port: Its port.
        replicas: Copies of the model.
        address: Of a Ray cluster; None starts one here.
        certificate: With which this process proves who it is.

    Raises:
        ServiceError: If the address is taken, nobody could be let in, or replicas elsewhere could not record.
    """
    if address is not None and settings.audit_url.startswith("sqlite"):
        raise ServiceError(
            "replicas of a cluster cannot record in an SQLite file; set audit_url to a PostgreSQL database"
        )
    door, listening = Door(settings, host=host), listen(host, port)
    with Log(settings.audit_url) as log:
        begin_configured_session(log, settings)
    processors = os.cpu_count() or 1
    threads = settings.threads or max(1, processors // replicas)
    if address is None:
        ray.init(
            "local",  # or it would join whatever cluster runs on this machine
            num_cpus=max(processors, replicas + 1),
            object_store_memory=_OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
        )
    else:
        ray.init(address, log_to_driver=False)
    try:
        serve.start(proxy_location="Disabled")
        deployment: Any = serve.deployment(
            Replica,
            num_replicas=replicas,
            max_ongoing_requests=settings.waiting_questions,
            ray_actor_options={"num_cpus": 1, "num_gpus": 1 if torch.cuda.is_available() else 0},
        )
        # What keys and tokens are is no affair of a replica.
        known = replace(settings, api_keys={}, people={})
        handle = serve.run(
            deployment.bind(named_model(settings), known, threads), name="medvqa", route_prefix=None
        )
        metrics = Metrics()
        service = Service(
            door=door,
            rates=Rates(settings.requests_per_minute),
            answering=Replicas(handle, metrics),
            jobs=None,
            metrics=metrics,
        )
        run(guarded(build_app(), service, settings), listening, certificate=certificate)
    finally:
        serve.shutdown()
        ray.shutdown()


def _pack(asked: Asked) -> Sent:
    files = [asked.upload] if asked.upload.is_file() else sorted(asked.upload.iterdir())
    return Sent(
        caller=asked.caller,
        files=tuple(file.read_bytes() for file in files),
        question=asked.question,
        image_number=asked.image_number,
        heatmap=asked.heatmap,
        window=asked.window,
    )


def _failed(error: Exception) -> Failed:
    told = as_request_error(error)
    return Failed(status=told.status, kind=told.kind, message=told.message)
