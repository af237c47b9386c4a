"""Whether the service lives and is ready, and what Prometheus counts of it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from medvqa.service.routing import Watcher, service_of
from medvqa.service.schemas import errors

router = APIRouter(tags=["watching"])


@router.get("/health/live")
async def live() -> dict[str, str]:
    """That the process answers."""
    return {"status": "live"}


@router.get("/health/ready", responses={503: {"description": "It ends, and takes nothing new."}})
async def ready(request: Request) -> JSONResponse:
    """That questions are taken: the model is loaded, and the service does not end."""
    ending = request.app.state.guard.ending
    return JSONResponse({"status": "ending" if ending else "ready"}, status_code=503 if ending else 200)


@router.get("/metrics", response_class=Response, responses=errors())
async def metrics(request: Request, _: Watcher) -> Response:
    """Counters in Prometheus' text format, for any role."""
    return Response(service_of(request).metrics.written(), media_type=CONTENT_TYPE_LATEST)
