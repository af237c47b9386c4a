"""What is sent and received, for /openapi.json and for reading what comes in."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from medvqa.types import Checks, HeatmapMethod, ImageRef, ModelIdentity, Notice, WindowName

_IMAGE = "Base64 of a DICOM, PNG or JPEG file or of a ZIP archive, perhaps as a data: URL."


class AskBody(BaseModel):
    """A question about one image, as JSON."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"question": "Is there a tumor?", "image": "iVBORw0KGgo=", "heatmap": "attention"}]
        },
    )

    question: str
    image: Annotated[str, Field(description=_IMAGE)]
    image_number: Annotated[
        int | None, Field(ge=1, description="Which image of the study; else the middle one.")
    ] = None
    heatmap: Annotated[HeatmapMethod | None, Field(description="Also explain the answer.")] = None
    window: Annotated[WindowName | None, Field(description="CT window.")] = None

    @field_validator("image")
    @classmethod
    def _hold_base64(cls, text: str) -> str:
        decode_image(text)
        return text


class ChatBody(BaseModel):
    """A prompt, with an image or without."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"prompt": "Is there a tumor?", "image": "iVBORw0KGgo="}]},
    )

    prompt: str
    image: Annotated[str | None, Field(description=_IMAGE)] = None

    @field_validator("image")
    @classmethod
    def _hold_base64(cls, text: str | None) -> str | None:
        if text is not None:
            decode_image(text)
        return text


def decode_image(text: str) -> bytes:
    """The bytes of an image in base64.

    Raises:
        ValueError: If it is none.
    """
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("is not base64 of a file") from error
    if not content:
        raise ValueError("is empty; send the file's bytes in base64")
    return content


class Recalled(BaseModel):
    """That the model was not asked."""

    audit_id: int
    """Row that says that an earlier answer was shown."""


class AnswerBody(BaseModel):
    """An answer, as `medvqa ask --json` prints it."""

    answer_id: str
    audit_id: Annotated[int, Field(description="Row of the answer in the audit trail.")]
    question: str
    text: str
    checks: Checks
    heatmap: dict[str, Any] | None
    image: ImageRef
    model: ModelIdentity
    warnings: list[Notice]
    created: str
    seconds: float
    notice: str
    recalled: Annotated[
        Recalled | None, Field(description="Set where the answer was given before and is shown again.")
    ]


class ChatReply(BaseModel):
    """What was said to a prompt."""

    response: str
    rests_on_image: Annotated[
        bool, Field(description="False: words alone went in, and this says nothing of any image.")
    ]
    audit_id: int
    answer: AnswerBody | None
    warnings: list[Notice]
    notice: str


JobState = Literal["waiting", "running", "done", "failed", "cancelled"]


class JobBody(BaseModel):
    """How far a job has come."""

    id: str
    state: JobState
    questions: Annotated[
        int | None, Field(description="How many are asked in all; null until the studies are read.")
    ]
    ended: Annotated[int, Field(description="How many were answered or refused.")]
    created: str
    problem: Annotated[str | None, Field(description="Why it failed.")]


class JobResult(BaseModel):
    """What came of a job, question by question."""

    id: str
    answers: list[dict[str, Any]]
    notice: str


class ErrorText(BaseModel):
    """What went wrong."""

    type: str
    message: str


class ErrorBody(BaseModel):
    """Why a request was not done."""

    error: ErrorText


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of a route that are errors, for /openapi.json."""
    return {
        status: {
            "model": ErrorBody,
            "description": _MEANINGS[status],
            "content": {"application/json": {"example": _EXAMPLES[status]}},
        }
        for status in sorted({401, 403, 429, 500, 503, *statuses})
    }


def _example(kind: str, message: str) -> dict[str, Any]:
    return {"error": {"type": kind, "message": message}}


_MEANINGS = {
    401: "Nobody is known by this key or token.",
    403: "The caller's role does not allow it.",
    404: "There is no such job of this caller.",
    408: "The request came too slowly.",
    409: "It cannot be done as things stand.",
    413: "The request, or an image in it, is larger than the limits allow.",
    415: "The request is neither JSON nor multipart/form-data.",
    422: "The request is not understood, or the gate or the model refused; the trail has a refusal.",
    429: "Too many requests of this caller.",
    500: "Something that nobody foresaw.",
    502: "The model's server gave no answer.",
    503: "Nothing is taken at the moment, or nothing can be recorded.",
    504: "No answer came in time.",
}
_EXAMPLES = {
    401: _example("Unauthorized", "nobody has this key; ask whoever looks after medvqa.toml for one"),
    403: _example("AccessError", "to ask takes the role reader or senior, and yours is auditor; ask ..."),
    404: _example("NotFound", "there is no such job of yours"),
    408: _example("TooSlow", "the request's body did not come; send it without pauses"),
    409: _example("NotDone", "the job is running; ask for its result when it is done"),
    413: _example("TooLarge", "the request is larger than 512 MiB"),
    415: _example("UnsupportedMediaType", "send application/json or multipart/form-data"),
    422: _example("Refused", "the image is blank: 99 % of it is one gray level"),
    429: _example("RateLimited", "that were more than 120 requests a minute; ask again in 1 s"),
    500: _example("InternalError", "this went wrong in a way that nobody foresaw; ..."),
    502: _example("ModelError", "the server did not answer"),
    503: _example("Unavailable", "the service ends; ask again when it is back"),
    504: _example("TooSlow", "no answer came within 300 s; ask again, or send the questions as a job"),
}
