"""Questions: `POST /v1/ask` about an image, and `POST /chat` with or without one."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from medvqa.service.answering import Asked
from medvqa.service.reading_requests import read_prompt, read_question, uploaded
from medvqa.service.routing import Asker, service_of
from medvqa.service.schemas import AnswerBody, AskBody, ChatBody, ChatReply, errors
from medvqa.types import NOT_FOR_DIAGNOSIS

UPLOAD_PREFIX = "medvqa-service-"
"""Begins the names of folders in which uploads lie while they are asked about."""

router = APIRouter(tags=["questions"])
_NO_IMAGE = {
    "code": "no_image",
    "message": "the model saw no image: this is what its decoder makes of words alone, without any check",
    "tag": None,
}


def _form_of(body: dict[str, Any]) -> dict[str, Any]:
    """The fields of a form with files, from those of the JSON."""
    files = {"type": "array", "items": {"type": "string", "format": "binary"}}
    return {
        "type": "object",
        "properties": {**body["properties"], "image": files},
        "required": body["required"],
    }


def body_schema(model: type[AskBody | ChatBody], *, form: bool) -> dict[str, Any]:
    """What a route takes, for /openapi.json."""
    schema = model.model_json_schema()
    content: dict[str, Any] = {"application/json": {"schema": schema, "example": schema["examples"][0]}}
    if form:
        content["multipart/form-data"] = {"schema": _form_of(schema)}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/v1/ask",
    response_model=AnswerBody,
    responses=errors(408, 413, 415, 422, 502, 504),
    openapi_extra=body_schema(AskBody, form=True),
)
async def ask(request: Request, caller: Asker) -> JSONResponse:
    """Ask one question about one image of a study; the answer is in the audit trail before it is sent."""
    with TemporaryDirectory(prefix=UPLOAD_PREFIX) as folder:
        form = await read_question(request, Path(folder))
        asked = Asked(
            caller=caller,
            upload=uploaded(Path(folder)),
            question=form.question,
            image_number=form.image_number,
            heatmap=form.heatmap,
            window=form.window,
        )
        return JSONResponse(await service_of(request).answering.answer(asked))


@router.post(
    "/chat",
    response_model=ChatReply,
    responses=errors(408, 413, 415, 422, 502, 504),
    openapi_extra=body_schema(ChatBody, form=False),
)
async def chat(request: Request, caller: Asker) -> JSONResponse:
    """Put a prompt to the model; without an image what comes rests on none, and says so."""
    answering = service_of(request).answering
    with TemporaryDirectory(prefix=UPLOAD_PREFIX) as folder:
        prompt, has_image = await read_prompt(request, Path(folder))
        if has_image:
            asked = Asked(caller=caller, upload=uploaded(Path(folder)), question=prompt)
            answer = await answering.answer(asked)
            said = {
                "response": answer["text"],
                "audit_id": answer["audit_id"],
                "answer": answer,
                "warnings": answer["warnings"],
            }
        else:
            reply = await answering.reply(caller, prompt)
            said = {
                "response": reply["text"],
                "audit_id": reply["audit_id"],
                "answer": None,
                "warnings": [_NO_IMAGE],
            }
    return JSONResponse({**said, "rests_on_image": has_image, "notice": NOT_FOR_DIAGNOSIS})
