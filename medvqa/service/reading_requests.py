"""What a caller sent, read within limits: JSON with base64, or multipart/form-data with files."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from medvqa.prompts import clean_question
from medvqa.service.problems import RequestError
from medvqa.service.schemas import AskBody, ChatBody, decode_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from medvqa.types import HeatmapMethod, WindowName

_JSON_BYTES = 64 << 20
"""Of a body that is held in memory as a whole; larger files come as multipart/form-data."""
_FILES = 5000
_FIELD_BYTES = 1 << 20
_STUDIES = "studies"
_NO_IMAGE = "send the image: a file in the field image"
Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskForm:
    """A question as it was sent; its image lies in a folder by then."""

    question: str
    image_number: int | None
    heatmap: HeatmapMethod | None
    window: WindowName | None


async def read_question(request: Request, folder: Path) -> AskForm:
    """Read a question, and write its image to a folder under a neutral name.

    Raises:
        RequestError: If it is not understood, or too large.
        QuestionError: If the question is none.
    """
    if media_type(request) == "application/json":
        body = await _read_json(request, AskBody)
        await run_in_threadpool(_write, folder, decode_image(body.image))
    else:
        fields = await _read_form(request, folder, files="image")
        # Of the image only that there is one matters from here on.
        body = parse(AskBody, {**_numbers(fields), "image": "AA=="})
    return AskForm(
        question=clean_question(body.question),
        image_number=body.image_number,
        heatmap=body.heatmap,
        window=body.window,
    )


async def read_prompt(request: Request, folder: Path) -> tuple[str, bool]:
    """Read a prompt and whether an image came with it, which is then written to the folder.

    Raises:
        RequestError: If it is not understood, or too large.
    """
    body = await _read_json(request, ChatBody)
    if body.image is not None:
        await run_in_threadpool(_write, folder, decode_image(body.image))
    return body.prompt, body.image is not None


async def read_job(request: Request, folder: Path) -> str:
    """Read a question set, and write what it is about to a folder: archives, and a folder of loose files.

    Raises:
        RequestError: If it is not understood, or too large.
    """
    fields = await _read_form(request, folder, files=_STUDIES)
    unknown = fields.keys() - {"questions"}
    if unknown or "questions" not in fields:
        message = "a job has the fields questions (one a line, or TOML) and studies (files)"
        raise RequestError(status=422, kind="BadRequest", message=message)
    return fields["questions"]


def media_type(request: Request) -> str:
    """What a request says it holds, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def parse(model: type[Body], values: Any) -> Body:
    """Check what was sent.

    Raises:
        RequestError: With the field that is wrong; its value is not repeated.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the body"
        what = first["msg"].removeprefix("Value error, ")
        raise RequestError(status=422, kind="BadRequest", message=f"{place}: {what}") from error


async def _read_json(request: Request, model: type[Body]) -> Body:
    if media_type(request) != "application/json":
        raise RequestError(status=415, kind="UnsupportedMediaType", message="send application/json")
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > _JSON_BYTES:
            message = f"JSON may have {_JSON_BYTES >> 20} MiB; send larger files as multipart/form-data"
            raise RequestError(status=413, kind="TooLarge", message=message)
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RequestError(status=422, kind="BadRequest", message="the body is not valid JSON") from error
    return parse(model, values)


async def _read_form(request: Request, folder: Path, *, files: str) -> dict[str, str]:
    """The fields that are text; files of the field `files` lie in the folder by then."""
    if media_type(request) != "multipart/form-data":
        message = "send application/json or multipart/form-data"
        raise RequestError(status=415, kind="UnsupportedMediaType", message=message)
    async with request.form(max_files=_FILES, max_fields=20, max_part_size=_FIELD_BYTES) as form:
        sent = [part for name, part in form.multi_items() if name == files and isinstance(part, UploadFile)]
        if not sent:
            missing = _NO_IMAGE if files == "image" else f"send files in the field {files}"
            raise RequestError(status=422, kind="BadRequest", message=missing)
        fields: dict[str, str] = {}
        for name, part in form.multi_items():
            if isinstance(part, UploadFile):
                if name != files and name != "questions":
                    raise RequestError(status=422, kind="BadRequest", message=f"{name[:40]!r} is no field")
                if name == "questions":
                    content = await part.read(_FIELD_BYTES)
                    fields[name] = content.decode("utf-8", "replace")
            else:
                fields[name] = part
        await run_in_threadpool(_keep, folder, sent, sorted_out=files == _STUDIES)
    return fields


def _keep(folder: Path, sent: Sequence[UploadFile], *, sorted_out: bool) -> None:
    """Write files down under numbers: their own names may be those of patients."""
    for number, part in enumerate(sent, 1):
        name = f"uploaded file {number}"
        if sorted_out:
            is_archive = part.file.read(2) == b"PK"
            part.file.seek(0)
            name = f"archive {number}" if is_archive else f"loose/{name}"
        (folder / name).parent.mkdir(exist_ok=True)
        with (folder / name).open("xb") as kept:
            shutil.copyfileobj(part.file, kept)


def _write(folder: Path, content: bytes) -> None:
    (folder / "uploaded file 1").write_bytes(content)


def _numbers(fields: dict[str, str]) -> dict[str, Any]:
    """Fields of a form as the types that JSON would give them; an empty one counts as left out."""
    values: dict[str, Any] = {name: value for name, value in fields.items() if value}
    if "question" not in values and "question" in fields:
        values["question"] = ""
    number = values.get("image_number", "")
    if number.isdecimal() and number.isascii():
        values["image_number"] = int(number[:12])
    return values


def uploaded(folder: Path) -> Path:
    """The one file of a folder, or the folder where there are several."""
    files = list(folder.iterdir())
    return files[0] if len(files) == 1 else folder
