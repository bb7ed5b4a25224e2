"""The synchronous route of the original document: submit, wait, and answer the result itself."""

from __future__ import annotations

from typing import Any

from flask import url_for
from flask_openapi3 import APIBlueprint, Tag

from echo_api import belongings, needs, problems, requests, views, waiting
from echo_api.callers import caller
from echo_api.farm import farm
from echo_api.permits import permit
from echo_tasks.errors import BrokerUnavailable
from echo_tasks.messages import JobResult, JobStatus, ProcessRequest

api = APIBlueprint(
    "cognitive", __name__, url_prefix="/api/cognitive", abp_tags=[Tag(name="cognitive")], abp_responses=problems.INVALID
)
api.before_request(requests.require_json_object)


@api.post(
    "/process",
    security=needs.SUBMIT,
    responses={
        "200": JobResult,
        "400": problems.documented("the body is not JSON"),
        "413": problems.documented("the body is over 1 MiB"),
        "415": problems.documented("the body is not application/json"),
        **problems.CROWDED,
        "409": problems.documented("the job was cancelled"),
        "500": problems.documented("the job failed"),
        "504": problems.documented("not answered within its `timeout_s`, or SERVICE_TIMEOUT; `Location` names the job"),
    },
    openapi_extensions={"parameters": requests.HEADERS_OF_SUBMIT[1:]},
)
def process(body: ProcessRequest) -> Any:
    """Answer a text.

    The same job as `POST /api/jobs` makes, waited for; `Location` names it.
    """
    initial_state = body.processing_options.initial_state
    farm().workforce.check_initial_state(initial_state, "processing_options.initial_state")
    asked = belongings.request(requests.for_this_once(body.as_job()))
    accepted = farm().intake.submit(asked, caller(), requests.idempotency_key())
    timeout_s = farm().settings.service_timeout
    headers = {"Location": url_for("jobs.read", job_id=accepted.job_id)}
    try:
        job = waiting.for_end(farm(), accepted.job_id, timeout_s, permit())
    except BrokerUnavailable:
        return problems.unavailable("the broker went away while the job ran; read it at Location", headers)
    if job.result is not None:
        return caller().told(job.result).model_dump(mode="json"), 200, headers | views.cache_status(job.result)
    if job.status is JobStatus.CANCELLED:
        return problems.response(409, "the job was cancelled", headers=headers)
    if job.error is not None and job.error.rejected:
        reasons = "; ".join(sorted(set(job.error.membranes.values()))) or job.error.reason
        errors = [problems.FieldError(field="input_text", message=reasons)]
        return problems.response(422, f"the model cannot take this text: {reasons}", errors=errors, headers=headers)
    if job.error is not None and job.error.timed_out:
        return problems.response(504, job.error.reason, headers=headers)
    if job.error is not None:
        return problems.response(500, f"the job failed: {job.error.reason}", headers=headers)
    return problems.response(504, f"no answer within {timeout_s} s; the job goes on", headers=headers)
