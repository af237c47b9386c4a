"""Pixels on their way to the viewer: a route of this server, for the browser that opened the study alone."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from medvqa import MedvqaError
from medvqa.records import heatmap_sha256
from ui.stack_viewer.packets import pack_frame, pack_heatmap

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from medvqa import Heatmap, Study

BROWSER = "medvqa_browser"
"""Cookie: a random name of a browser, forgotten when it is closed."""
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True)
class Served:
    """A study whose pixels one browser may fetch, for as long as this is held."""

    study: Study
    browser: str = field(repr=False)
    ticket: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)
    heatmaps: dict[str, Heatmap] = field(default_factory=dict[str, "Heatmap"])
    """By the id of their answer."""

    @property
    def source(self) -> str:
        """Where images are fetched, by their place in the study from 0."""
        return f"/stacks/{self.ticket}"

    def source_of(self, answer_id: str) -> str:
        """Where the heatmap of an answer is fetched; another map of the same answer has another address."""
        return f"/heatmaps/{self.ticket}/{answer_id}?made={heatmap_sha256(self.heatmaps[answer_id])[:12]}"


_SERVED: WeakValueDictionary[str, Served] = WeakValueDictionary()


def serve(study: Study, *, browser: str) -> Served:
    """Let `browser` fetch what `study` holds."""
    served = Served(study=study, browser=browser)
    _SERVED[served.ticket] = served
    return served


def send_image(request: Request) -> Response:
    """Answer with one image as `pack_frame` packs it, or with the sentence that says why not."""
    served, place = _find(request), int(request.path_params["place"])
    if served is None or place >= len(served.study.frames):
        return PlainTextResponse("There is no such image; open the study again.", 404, headers=_HEADERS)
    try:
        packed = pack_frame(served.study.frames[place])
    except MedvqaError as error:
        return PlainTextResponse(str(error), 422, headers=_HEADERS)
    return Response(packed, media_type="application/octet-stream", headers=_HEADERS)


def send_heatmap(request: Request) -> Response:
    """Answer with one heatmap as `pack_heatmap` packs it."""
    served = _find(request)
    heatmap = None if served is None else served.heatmaps.get(request.path_params["answer_id"])
    if heatmap is None:
        return PlainTextResponse("There is no such heatmap; ask again.", 404, headers=_HEADERS)
    return Response(pack_heatmap(heatmap), media_type="application/octet-stream", headers=_HEADERS)


ROUTES = (
    Route("/stacks/{ticket}/{place:int}", send_image),
    Route("/heatmaps/{ticket}/{answer_id}", send_heatmap),
)


class NameBrowser:
    """Give each browser a name of its own, by which it is known when it fetches pixels."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Set the cookie with the first page."""
        if scope["type"] != "http" or BROWSER in SimpleCookie(Headers(scope=scope).get("cookie", "")):
            await self.app(scope, receive, send)
            return

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                encrypted = "; Secure" if scope["scheme"] == "https" else ""
                cookie = (
                    f"{BROWSER}={secrets.token_urlsafe(16)}; Path=/; HttpOnly; SameSite=Strict{encrypted}"
                )
                MutableHeaders(scope=message).append("set-cookie", cookie)
            await send(message)

        await self.app(scope, receive, send_named)


def _find(request: Request) -> Served | None:
    served = _SERVED.get(request.path_params["ticket"])
    browser = request.cookies.get(BROWSER, "")
    return served if served is not None and secrets.compare_digest(served.browser, browser) else None
