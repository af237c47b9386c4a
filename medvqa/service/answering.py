"""From what a caller asked to what they are told; the routes know no more of models than this."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from starlette.concurrency import run_in_threadpool

from medvqa.service.desk import Desk, Posed, Words
from medvqa.service.problems import RequestError
from medvqa.service.turns import Came, Turns

if TYPE_CHECKING:
    from concurrent.futures import Future

    from medvqa.service.callers import Caller
    from medvqa.types import HeatmapMethod, WindowName

ANSWER_SECONDS = 300
"""After which nobody waits for an answer any more; if it comes, the trail has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question as a caller sent it."""

    caller: Caller
    upload: Path
    """A file, or a folder of files under neutral names."""
    question: str
    image_number: int | None = None
    heatmap: HeatmapMethod | None = None
    window: WindowName | None = None


class Answering(Protocol):
    """Whatever answers: a model in this process, or replicas elsewhere."""

    async def answer(self, asked: Asked) -> Came:
        """The answer as JSON.

        Raises:
            MedvqaError, AuditError, RequestError: Why there is none.
        """
        ...

    async def reply(self, caller: Caller, words: str) -> Came:
        """What the model says to words without an image, as JSON."""
        ...


class OwnModel:
    """Answers by the model of this process: studies are read side by side, the model is asked in turns."""

    def __init__(self, desk: Desk, turns: Turns[Posed | Words]) -> None:
        self._desk = desk
        self._turns = turns

    async def answer(self, asked: Asked) -> Came:
        """As of `Answering`; an answer that the trail has is not given anew."""
        posed, known = await run_in_threadpool(self._prepare, asked)
        return known if known is not None else await wait_for(self._turns.submit(posed))

    async def reply(self, caller: Caller, words: str) -> Came:
        """As of `Answering`."""
        return await wait_for(self._turns.submit(Words(caller=caller, text=words)))

    def _prepare(self, asked: Asked) -> tuple[Posed, Came | None]:
        study = self._desk.open(asked.caller, asked.upload, window=asked.window)
        posed = self._desk.pose(
            asked.caller, study, asked.question, image_number=asked.image_number, heatmap=asked.heatmap
        )
        # The trail keeps no map, so an answer with one is made again.
        return posed, None if asked.heatmap is not None else self._desk.recall(posed)


async def wait_for(future: Future[Came]) -> Came:
    """What comes of a turn; whoever waits too long gives it up.

    Raises:
        RequestError: If it takes longer than `ANSWER_SECONDS`.
    """
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), ANSWER_SECONDS)
    except TimeoutError as error:
        message = f"no answer came within {ANSWER_SECONDS} s; ask again, or send the questions as a job"
        raise RequestError(status=504, kind="TooSlow", message=message) from error
