"""A service as its routes know it, and who may use which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Request

from medvqa.service.callers import Caller

if TYPE_CHECKING:
    from medvqa.access import Permission
    from medvqa.service.answering import Answering
    from medvqa.service.callers import Door
    from medvqa.service.jobs import JobRunner
    from medvqa.service.metrics import Metrics
    from medvqa.service.rates import Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What the routes work with."""

    door: Door
    rates: Rates
    answering: Answering
    jobs: JobRunner | None
    """None where answers come from replicas: jobs are then sent to a server of one model."""
    metrics: Metrics


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    return cast("Service", request.app.state.service)


def allowed(permission: Permission) -> Callable[[Request], Caller]:
    """A dependency: who calls, where they may do that and not too often."""

    # Not a coroutine, so that asking an issuer for its keys holds up nobody.
    def identify(request: Request) -> Caller:
        service = service_of(request)
        caller = service.door.identify(request.headers.get("authorization"))
        service.rates.take(caller.name)
        caller.require(permission)
        return caller

    return identify


Asker = Annotated[Caller, Depends(allowed("ask"))]
Watcher = Annotated[Caller, Depends(allowed("models"))]
