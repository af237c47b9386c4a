"""What the service says when it does not do what was asked: a status, a type and one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit import AuditError
from medvqa.errors import (
    AccessError,
    BatchError,
    CancelledError,
    DicomError,
    GateError,
    LimitError,
    MedvqaError,
    ModelError,
    QuestionError,
    RecordError,
    StoppedError,
    TaskError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATUS: dict[type[Exception], int] = {
    AccessError: 403,
    AuditError: 503,
    BatchError: 422,
    CancelledError: 409,
    DicomError: 422,
    GateError: 422,
    LimitError: 413,
    ModelError: 502,
    QuestionError: 422,
    RecordError: 503,
    StoppedError: 409,
    TaskError: 422,
}
"""Of the errors of `medvqa.errors`, the nearest class winning; any other is 500."""


@dataclass(eq=False, kw_only=True)
class RequestError(Exception):
    """Why a request is not done, as HTTP says it."""

    status: int
    kind: str
    """Stable name for programs, such as `RateLimited`."""
    message: str
    """One sentence for a person, without patient attributes and secrets."""
    retry_after_s: int | None = None
    """When it may do to ask again."""
    challenge: bool = False
    """Whether a key or a token is what was missing."""

    def __post_init__(self) -> None:
        super().__init__(self.message)

    @property
    def body(self) -> dict[str, dict[str, str]]:
        """What is sent."""
        return {"error": {"type": self.kind, "message": self.message}}

    @property
    def headers(self) -> Mapping[str, str]:
        """What goes with it."""
        headers: dict[str, str] = {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        if self.challenge:
            headers["WWW-Authenticate"] = 'Bearer realm="medvqa"'
        return headers


def as_request_error(error: Exception) -> RequestError:
    """An error as HTTP says it; of one that nobody raised on purpose nothing, for it may quote a file."""
    if isinstance(error, RequestError):
        return error
    if not isinstance(error, MedvqaError | AuditError):
        message = "this went wrong in a way that nobody foresaw; whoever looks after the service has its log"
        return RequestError(status=500, kind="InternalError", message=message)
    status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)
    return RequestError(status=status, kind=type(error).__name__, message=str(error))


def too_busy(message: str, *, retry_after_s: int) -> RequestError:
    """For the moment, nothing more is taken."""
    return RequestError(status=503, kind="Unavailable", message=message, retry_after_s=retry_after_s)
