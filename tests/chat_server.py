"""A server that speaks the chat API and says what a test wants; it runs in a thread of the test."""

from __future__ import annotations

import base64
import io
import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image as PillowImage

MODEL = "tiny/model:7b"


@dataclass
class Asked:
    """One request, taken apart."""

    body: dict[str, Any]
    headers: dict[str, str]
    png: bytes
    pixels: np.ndarray
    question: str


@dataclass
class Failure:
    """An answer that is none: status and body, or a silence of so many seconds."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0


Said = list[dict[str, float]] | str | Failure
"""For each token the probabilities of what may stand there, the likeliest being said; or a text alone."""


class ChatServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer: Callable[[Asked], Said]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.asked: list[Asked] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @property
    def address(self) -> str:
        return f"{self.url}#{MODEL}"


@contextmanager
def chat_server(answer: Callable[[Asked], Said]) -> Iterator[ChatServer]:
    with ChatServer(answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def refusing(*names: str) -> Failure:
    """What OpenAI says of an option that it does not take."""
    error = {"message": "Unsupported parameter.", "type": "invalid_request_error", "param": names[0]}
    return Failure(status=400, body={"error": error})


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_POST(self) -> None:
        asked = _take_apart(
            json.loads(self.rfile.read(int(self.headers["Content-Length"]))),
            {name.lower(): value for name, value in self.headers.items()},
        )
        self.server.asked.append(asked)
        said = self.server.answer(asked)
        if not isinstance(said, Failure):
            said = Failure(body=_reply(said, asked.body))
        if said.seconds:
            threading.Event().wait(said.seconds)
        content = said.body.encode() if isinstance(said.body, str) else json.dumps(said.body).encode()
        try:
            self.send_response(said.status)
            # The client waits this long before it tries again.
            for name, value in {"retry-after-ms": "1", "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except BrokenPipeError:  # the client did not wait
            pass

    def log_message(self, *_: Any) -> None:
        pass


def _take_apart(body: dict[str, Any], headers: dict[str, str]) -> Asked:
    (message,) = body["messages"]
    shown, told = message["content"]
    assert (message["role"], shown["type"], told["type"]) == ("user", "image_url", "text")
    png = base64.b64decode(shown["image_url"]["url"].removeprefix("data:image/png;base64,"))
    pixels = np.asarray(PillowImage.open(io.BytesIO(png)))
    return Asked(body=body, headers=headers, png=png, pixels=pixels, question=told["text"])


def _reply(said: list[dict[str, float]] | str, body: dict[str, Any]) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    if isinstance(said, str):
        choice["message"] = {"role": "assistant", "content": said}
    else:
        likeliest = [max(place, key=place.__getitem__) for place in said]
        choice["message"] = {"role": "assistant", "content": "".join(likeliest)}
        if body.get("logprobs"):
            choice["logprobs"] = {
                "content": [
                    {**_told(token, place), "top_logprobs": _listed(place, body["top_logprobs"])}
                    for token, place in zip(likeliest, said, strict=True)
                ]
            }
    return {"model": f"{body['model']}-2026", "system_fingerprint": "fp_1", "choices": [choice]}


def _listed(place: dict[str, float], most: int) -> list[dict[str, Any]]:
    return [_told(token, place) for token in sorted(place, key=place.__getitem__, reverse=True)[:most]]


def _told(token: str, place: dict[str, float]) -> dict[str, Any]:
    logprob = math.log(place[token]) if place[token] else -9999.0
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}
