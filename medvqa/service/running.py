"""Running the service in this process, and ending it so that nobody loses an answer."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from medvqa.errors import ServiceError
from medvqa.service.answering import OwnModel
from medvqa.service.app import build_app, guarded
from medvqa.service.desk import Desk, Posed, Words
from medvqa.service.job_store import JobStore
from medvqa.service.jobs import JobRunner
from medvqa.service.metrics import Metrics
from medvqa.service.rates import Rates
from medvqa.service.routing import Service
from medvqa.service.turns import Turns
from medvqa.settings import default_jobs

if TYPE_CHECKING:
    from types import FrameType

    from audit import Log
    from medvqa.models.base import VisionLanguageModel
    from medvqa.service.callers import Door
    from medvqa.service.guard import Guard
    from medvqa.settings import Settings

_BACKLOG = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """With which the service proves who it is."""

    chain: Path
    key: Path


class OwnService:
    """A service whose model is in this process; `guard` is its ASGI application.

    Args:
        model: What answers.
        log: The trail; closed with the service.
        settings: See `medvqa.settings`.
        door: Who may come in.

    Raises:
        ServiceError: If jobs cannot be kept.
    """

    def __init__(self, model: VisionLanguageModel, *, log: Log, settings: Settings, door: Door) -> None:
        metrics = Metrics()
        self._log = log
        desk = Desk(model, log=log, settings=settings, metrics=metrics)
        store = JobStore(settings.jobs or default_jobs())
        self._turns = Turns[Posed | Words](
            desk.take, most_waiting=settings.waiting_questions, on_waiting=metrics.waiting.set
        )
        self._jobs = JobRunner(store, desk, self._turns)
        self._jobs.start()
        service = Service(
            door=door,
            rates=Rates(settings.requests_per_minute),
            answering=OwnModel(desk, self._turns),
            jobs=self._jobs,
            metrics=metrics,
        )
        self.guard: Guard = guarded(build_app(), service, settings)

    def close(self) -> None:
        """Let what is at the model be answered; jobs go on with the next server."""
        self._jobs.close()
        self._turns.close()
        self._log.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a taken address is known before a model is loaded.

    Raises:
        ServiceError: If the address is taken, or none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ServiceError(
            f"{host}:{port} cannot be listened on: {error.strerror}; choose another --host or --port"
        ) from error


def run(guard: Guard, listening: socket.socket, *, certificate: Certificate | None = None) -> None:
    """Answer requests until SIGTERM or SIGINT; then turn new ones away, and end with the last one running.

    A second signal ends it at once.
    """
    config = uvicorn.Config(
        guard,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ssl_certfile=None if certificate is None else certificate.chain,
        ssl_keyfile=None if certificate is None else certificate.key,
    )
    _Server(config, guard).run(sockets=[listening])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, guard: Guard) -> None:
        super().__init__(config)
        self._guard = guard

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        # uvicorn would end by the signal, and so with an exit code that says that something went wrong.
        if self._guard.ending:
            self.should_exit = self.force_exit = True
        self._guard.ending = True

    async def on_tick(self, counter: int) -> bool:
        if self._guard.ending and self._guard.running == 0:
            self.should_exit = True
        return await super().on_tick(counter)
