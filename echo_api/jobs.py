"""Jobs over HTTP: submit, read, cancel, follow."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app, url_for
from flask_openapi3 import APIBlueprint, Tag
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel

from echo_api import belongings, freshness, needs, problems, requests, stream, views, waiting
from echo_api.callers import caller
from echo_api.farm import farm
from echo_api.permits import permit
from echo_tasks.messages import JobRequest

api = APIBlueprint(
    "jobs", __name__, url_prefix="/api/jobs", abp_tags=[Tag(name="jobs")], abp_responses=problems.INVALID
)
api.before_request(requests.require_json_object)

_NOT_FOUND: ResponseDict = {
    "404": problems.documented("no such job"),
    "503": problems.documented("the broker does not answer"),
}


class JobPath(BaseModel):
    """The job that a path names."""

    job_id: str


@api.post(
    "",
    security=needs.SUBMIT,
    responses={
        "200": views.JobView,
        "202": views.Accepted,
        "400": problems.documented("the body is not JSON"),
        "413": problems.documented("the body is over 1 MiB"),
        "415": problems.documented("the body is not application/json"),
        **problems.CROWDED,
    },
    openapi_extensions={"parameters": requests.HEADERS_OF_SUBMIT},
)
def submit(body: JobRequest) -> Any:
    """Submit a job.

    Answers 202 with the job's place, or 200 with the finished job when `Prefer: wait=S` is given and it
    ends in time.
    """
    wait_s = requests.wait_s()
    farm().workforce.check_initial_state(body.options.initial_state, "options.initial_state")
    asked = belongings.request(requests.for_this_once(body))
    accepted = farm().intake.submit(asked, caller(), requests.idempotency_key())
    headers = {"Location": url_for("jobs.read", job_id=accepted.job_id)}
    status, session_id = accepted.status, accepted.session_id
    if wait_s is not None:
        headers["Preference-Applied"] = f"wait={wait_s:g}"
    if wait_s is not None or status is None:
        job = waiting.for_end(farm(), accepted.job_id, wait_s or 0, permit())
        if wait_s is not None and job.status.ended:
            return views.job(job), 200, headers | views.cache_status(job.result)
        status, session_id = job.status, job.session_id
    place = {"job_id": accepted.job_id, "session_id": caller().outer(session_id), "status": status}
    return place | {"links": views.links(accepted.job_id)}, 202, headers


@api.get(
    "/<job_id:job_id>",
    security=needs.READ,
    responses={"200": views.JobView, "304": {"description": "the job is as the client has it"}, **_NOT_FOUND},
)
def read(path: JobPath) -> Any:
    """Read a job.

    `Cache-Status` tells of an answer whether it came from the cache, and from where. A job that has ended has an
    `ETag`, and is 304 under `If-None-Match`.
    """
    job = belongings.job(path.job_id)
    answer = current_app.make_response((views.job(job), 200, views.cache_status(job.result)))
    return freshness.finished(answer) if job.status.ended else answer


@api.delete("/<job_id:job_id>", security=needs.SUBMIT, responses={"200": views.JobView, **_NOT_FOUND})
def cancel(path: JobPath) -> Any:
    """Cancel a job.

    One that has ended stays as it ended; a running one stops generating. What it ended with is for keys that may read.
    """
    belongings.job(path.job_id)
    cancelled = farm().intake.cancel(path.job_id)
    if not caller().may("read"):
        cancelled = cancelled.model_copy(update={"result": None, "error": None})
    return views.job(cancelled)


@api.get(
    "/<job_id:job_id>/events",
    security=needs.READ,
    responses={
        "200": {"description": "the job's events", "content": {"text/event-stream": {}}},
        "204": {"description": "there are no more"},
        **_NOT_FOUND,
    },
    openapi_extensions={"parameters": requests.HEADERS_OF_EVENTS},
)
def events(path: JobPath) -> Response:
    """Follow a job as Server-Sent Events.

    `status`, `token`, `result`, `error`; the stream ends with the job, and a client should close it then.
    `Last-Event-ID` resumes; behind the last event of an ended job the answer is 204, which stops a browser's
    EventSource from coming back. A `status` with `restarted` voids that step's tokens so far.
    """
    after = requests.last_event_id()
    belongings.job(path.job_id)
    if stream.nothing_to_come(farm(), path.job_id, after):
        return Response(status=204)
    return stream.response(farm(), path.job_id, after, permit())
