"""What stands before every route: limits on what comes in, headers on what goes out, and the service's end.

It is plain ASGI, so that it sees a body chunk by chunk, whatever reads it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import traceback
from typing import TYPE_CHECKING, Any

from medvqa.service.callers import LOOPBACK
from medvqa.service.problems import RequestError, as_request_error, too_busy

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from medvqa.service.metrics import Metrics

_LOG = logging.getLogger(__name__)
_CHUNK_SECONDS = 30.0
"""In which the next part of a body must come."""
_ALWAYS = ("/health/live", "/health/ready", "/metrics")
"""Told even while the service ends."""
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guard:
    """An ASGI application around another.

    Args:
        app: What it guards.
        metrics: What is counted.
        most_bytes: Of a request's body.
        most_requests: At once; more are turned away.
        this_machine_alone: Whether nobody has to say who they are, so that requests that a page of another
            site made a browser send are refused.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        most_bytes: int,
        most_requests: int,
        this_machine_alone: bool,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._most_bytes = most_bytes
        self._most_requests = most_requests
        self._this_machine_alone = this_machine_alone
        self.running = 0
        """Requests that are being done."""
        self.ending = False
        """Whether no new ones are taken."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        begun = complete = False

        async def send_on(message: Message) -> None:
            nonlocal status, begun, complete
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                message["headers"] = [*message["headers"], *_encoded(_HEADERS)]
            elif message["type"] == "http.response.body":
                complete = not message.get("more_body", False)
            await send(message)

        self.running += 1
        try:
            self._admit(scope)
            await self._app(scope, self._limited(receive), send_on)
        except Exception as error:
            problem = as_request_error(error)
            if problem.status == 500:
                _LOG.error("a request failed: %s at %s", type(error).__name__, _place_of(error))
            if not begun:
                await _tell(problem, send_on)
            elif not complete:
                raise ConnectionError("a response broke off") from None
        finally:
            self.running -= 1
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(path, status).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - started)

    def _admit(self, scope: Scope) -> None:
        """Turn away what need not be read.

        Raises:
            RequestError: With the reason.
        """
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["path"] in _ALWAYS:
            return
        if self.ending:
            raise too_busy("the service ends; ask again when it is back", retry_after_s=10)
        if self.running > self._most_requests:
            raise too_busy("too many requests are being done; ask again later", retry_after_s=5)
        if headers.get("content-length", "0").isdecimal() and (
            int(headers.get("content-length", "0")) > self._most_bytes
        ):
            raise self._too_large()
        if self._this_machine_alone:
            host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
            foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
            if host.strip("[]") not in LOOPBACK or "origin" in headers or foreign:
                message = "this came from a page of another site, or under another name than this machine's"
                raise RequestError(status=403, kind="Forbidden", message=message)

    def _limited(self, receive: Receive) -> Receive:
        """The body, as long as it is within the limits."""
        taken, complete = 0, False

        async def receive_on() -> Message:
            nonlocal taken, complete
            if complete:  # what comes now is that whoever asked has gone
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), _CHUNK_SECONDS)
            except TimeoutError as error:
                message = "the request's body did not come; send it without pauses"
                raise RequestError(status=408, kind="TooSlow", message=message) from error
            taken += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if taken > self._most_bytes:
                raise self._too_large()
            return message

        return receive_on

    def _too_large(self) -> RequestError:
        message = f"the request is larger than {self._most_bytes >> 20} MiB; send fewer files at once"
        return RequestError(status=413, kind="TooLarge", message=message)


async def _tell(problem: RequestError, send: Any) -> None:
    body = json.dumps(problem.body).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **problem.headers}
    if problem.status in (408, 413):
        headers["connection"] = "close"  # the rest of the body is not read
    start: dict[str, Any] = {"type": "http.response.start", "status": problem.status}
    await send({**start, "headers": _encoded(headers)})
    await send({"type": "http.response.body", "body": body})


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def _place_of(error: Exception) -> str:
    """File and line where it was raised; its text is left out, for it may quote a file or a question."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
