"""Jobs: a question set about one or several studies, done while nobody waits."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from medvqa.service.jobs import read_questions
from medvqa.service.problems import RequestError
from medvqa.service.reading_requests import read_job
from medvqa.service.routing import Asker, service_of
from medvqa.service.schemas import JobBody, JobResult, errors
from medvqa.types import NOT_FOR_DIAGNOSIS

if TYPE_CHECKING:
    from medvqa.service.callers import Caller
    from medvqa.service.job_store import Job
    from medvqa.service.jobs import JobRunner

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["questions", "studies"],
                    "properties": {
                        "questions": {
                            "type": "string",
                            "description": "One a line, or TOML with a [[question]] each.",
                            "examples": ["Is there a tumor?\nWhich organ is this?"],
                        },
                        "studies": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "DICOM, PNG and JPEG files, and ZIP archives of them.",
                        },
                    },
                }
            }
        },
    }
}


@router.post(
    "",
    status_code=202,
    response_model=JobBody,
    responses=errors(408, 413, 415, 422),
    openapi_extra=_BODY,
)
async def begin(request: Request, caller: Asker) -> JSONResponse:
    """Take a question set and studies; they are asked about as the model has time."""
    jobs = _jobs_of(request)
    folder = await run_in_threadpool(jobs.store.new_folder)
    try:
        text = await read_job(request, folder / "studies")
        name = "questions.toml" if "[[question]]" in text else "questions.txt"
        (folder / name).write_text(text, encoding="utf-8")
        await run_in_threadpool(read_questions, folder)
        job = await run_in_threadpool(jobs.store.add, folder, caller)
    except BaseException:  # a request that was broken off leaves no images behind either
        shutil.rmtree(folder, ignore_errors=True)
        raise
    jobs.look()
    return JSONResponse(_told(job), status_code=202, headers={"Location": f"/v1/jobs/{job.job_id}"})


@router.get("/{job_id}", response_model=JobBody, responses=errors(404))
def look(request: Request, job_id: str, caller: Asker) -> JSONResponse:
    """How far a job has come."""
    return JSONResponse(_told(_find(_jobs_of(request), job_id, caller)))


@router.get("/{job_id}/result", response_model=JobResult, responses=errors(404, 409))
def fetch(request: Request, job_id: str, caller: Asker) -> JSONResponse:
    """What came of a job that has ended; of one that was cancelled, what was answered until then."""
    jobs = _jobs_of(request)
    job = _find(jobs, job_id, caller)
    if job.state in ("waiting", "running"):
        message = f"the job is {job.state}; ask for its result when it is done"
        raise RequestError(status=409, kind="NotDone", message=message, retry_after_s=5)
    answers = jobs.store.came(job)
    return JSONResponse({"id": job.job_id, "answers": answers, "notice": NOT_FOR_DIAGNOSIS})


@router.post("/{job_id}/cancel", response_model=JobBody, responses=errors(404, 409))
def cancel(request: Request, job_id: str, caller: Asker) -> JSONResponse:
    """Stop a job; what is at the model is still answered."""
    jobs = _jobs_of(request)
    job = _find(jobs, job_id, caller)
    if not jobs.store.enter(job, "cancelled"):
        raise RequestError(
            status=409, kind="NotDone", message=f"the job has ended already: it is {job.state}"
        )
    return JSONResponse(_told(_find(jobs, job_id, caller)))


@router.delete("/{job_id}", status_code=204, responses=errors(404, 409))
def remove(request: Request, job_id: str, caller: Asker) -> Response:
    """Forget a job that has ended, with its result; the audit trail keeps what was answered."""
    jobs = _jobs_of(request)
    job = _find(jobs, job_id, caller)
    if job.state in ("waiting", "running"):
        raise RequestError(status=409, kind="NotDone", message=f"the job is {job.state}; cancel it first")
    jobs.store.remove(job)
    return Response(status_code=204)


def _jobs_of(request: Request) -> JobRunner:
    jobs = service_of(request).jobs
    if jobs is None:
        message = "replicas do no jobs; send them to a server of one model"
        raise RequestError(status=404, kind="NotFound", message=message)
    return jobs


def _find(jobs: JobRunner, job_id: str, caller: Caller) -> Job:
    """A job of this caller; that others have one of that id is not told.

    Raises:
        RequestError: If there is none.
    """
    job = jobs.store.find(job_id)
    if job is None or (job.caller.name, job.caller.through) != (caller.name, caller.through):
        raise RequestError(status=404, kind="NotFound", message="there is no such job of yours")
    return job


def _told(job: Job) -> dict[str, Any]:
    return {
        "id": job.job_id,
        "state": job.state,
        "questions": job.questions,
        "ended": job.ended,
        "created": job.created.isoformat(),
        "problem": job.problem,
    }
