"""A job's events as Server-Sent Events."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Response

from echo_api.callers import Caller
from echo_api.farm import Farm
from echo_api.permits import Permit
from echo_tasks import logs
from echo_tasks.errors import BrokerUnavailable, JobNotFound
from echo_tasks.events import Event
from echo_tasks.messages import JobResult
from echo_tasks.telemetry.http import EVENT_STREAMS

HEARTBEAT_S = 15
RECONNECT_MS = 1000
_PAGE = 100
"""Events that are held at a time for a client, who may not read them."""

log = logs.get(__name__)


def response(farm: Farm, job_id: str, after: str, permit: Permit) -> Response:
    """The events after the id `after`, as they come, until the job has ended, or the permit holds no more."""
    return Response(
        _frames(farm, job_id, after, permit),
        mimetype="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _frames(farm: Farm, job_id: str, after: str, permit: Permit) -> Iterator[str]:
    """Frames, a comment whenever nothing happened for HEARTBEAT_S, and an end without more words on a fault:
    a client that was cut off comes back with the last id that it saw.
    """
    yield f"retry: {RECONNECT_MS}\n\n"
    try:
        with EVENT_STREAMS.track_inprogress(), farm.wakeups.growth(job_id) as grown:
            woken = False
            while True:
                grown.clear()
                if not permit.holds(look=not woken):
                    return
                page = farm.events.read(job_id, after, limit=_PAGE)
                for event in page:
                    yield _frame(event, permit.caller)
                    after = event.id
                    if event.is_last:
                        return
                if len(page) == _PAGE:
                    continue
                if not page and not woken and nothing_to_come(farm, job_id, after):
                    return
                woken = grown.wait(min(HEARTBEAT_S, permit.left_s))
                if not woken:
                    yield ": waiting\n\n"
    except (BrokerUnavailable, JobNotFound) as error:
        log.warning("event stream cut off", job_id=job_id, error=str(error))


def nothing_to_come(farm: Farm, job_id: str, after: str) -> bool:
    """Whether the job has ended and the client has seen its last event, or that was trimmed away."""
    return farm.ledger.read(job_id).status.ended and not farm.events.read(job_id, after, limit=1)


def _frame(event: Event, caller: Caller) -> str:
    data = event.data
    if event.kind == "result" and caller.beginning:
        data = caller.told(JobResult.model_validate_json(data)).model_dump_json()
    return f"id: {event.id}\nevent: {event.kind}\ndata: {data}\n\n"
