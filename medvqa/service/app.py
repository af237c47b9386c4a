"""The application: routes, errors in one form, and the guard before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from audit import AuditError
from medvqa.errors import MedvqaError
from medvqa.service import job_routes, question_routes, watching_routes
from medvqa.service.guard import Guard
from medvqa.service.problems import RequestError, as_request_error
from medvqa.types import NOT_FOR_DIAGNOSIS

if TYPE_CHECKING:
    from medvqa.service.routing import Service
    from medvqa.settings import Settings

_RUNNING_BESIDE = 32
"""Requests that may be read or told while as many as may wait do so."""


def build_app() -> FastAPI:
    """The routes alone; `guarded` gives them a service."""
    app = FastAPI(
        title="medvqa",
        summary="Medical-imaging question answering whose answers can be checked.",
        description=NOT_FOR_DIAGNOSIS,
        version="1",
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    for routes in (question_routes, job_routes, watching_routes):
        app.include_router(routes.router)
    for kind in (MedvqaError, AuditError, RequestError, Exception):
        app.add_exception_handler(kind, _tell)
    app.add_exception_handler(HTTPException, _tell_http)
    app.add_exception_handler(RequestValidationError, _tell_invalid)
    return app


async def _tell(_: Request, error: Exception) -> JSONResponse:
    problem = as_request_error(error)
    return JSONResponse(problem.body, status_code=problem.status, headers=dict(problem.headers))


async def _tell_http(request: Request, error: Exception) -> JSONResponse:
    """What the framework says: no such path, or a form that cannot be taken apart."""
    status: int = getattr(error, "status_code", 500)
    kind = {404: "NotFound", 405: "MethodNotAllowed"}.get(status, "BadRequest")
    message = {404: "there is nothing at this path; see /openapi.json"}.get(status) or str(
        getattr(error, "detail", "")
    )
    return await _tell(request, RequestError(status=status, kind=kind, message=message))


async def _tell_invalid(request: Request, _: Exception) -> JSONResponse:
    message = "a parameter is not as /openapi.json says"
    return await _tell(request, RequestError(status=422, kind="BadRequest", message=message))


def guarded(app: FastAPI, service: Service, settings: Settings) -> Guard:
    """The application as that service, behind its guard, which tells what runs and ends it."""
    app.state.service = service
    app.state.guard = Guard(
        app,
        metrics=service.metrics,
        most_bytes=settings.upload_mib << 20,
        most_requests=settings.waiting_questions + _RUNNING_BESIDE,
        this_machine_alone=service.door.is_open,
    )
    return app.state.guard
