"""Jobs whose records cannot be read, since something else than the farm has written there: they end, and say so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.exceptions import ResponseError

from echo_tasks import keys, logs
from echo_tasks.connections import broker_faults
from echo_tasks.errors import RecordDamaged
from echo_tasks.events import EVENTS_KEPT
from echo_tasks.messages import JobError, JobSpec
from echo_tasks.scripts import script

REASON = "its record was damaged, and cannot be read"

_OTHER_KIND = re.compile(
    r"attempt to (compare|perform arithmetic|concatenate|index)|not an? (integer|float)|wrong kind of value"
)

_SESSION = re.compile(r'"session_id": ?"([A-Za-z0-9_-]{1,128})"')

_NAMELESS = "damaged"
"""The session of a job whose record does not even tell that."""

log = logs.get(__name__)


@contextmanager
def told_of(job_id: str) -> Iterator[None]:
    """Raise RecordDamaged for whatever is wrong with what a job's record holds: fields missing, or of another kind."""
    try:
        yield
    except (LookupError, TypeError, ValueError) as error:
        raise RecordDamaged(job_id) from error
    except ResponseError as error:
        if not is_told_by(error):
            raise
        raise RecordDamaged(job_id) from error


def is_told_by(error: ResponseError) -> bool:
    """Whether a script ended since it found something of another kind than it counts on."""
    return _OTHER_KIND.search(str(error)) is not None


class Damages:
    """Ends such jobs. Raises BrokerUnavailable."""

    def __init__(self, client: redis.Redis, *, retention_s: int, publishing_s: int) -> None:
        self._redis = client
        self._retention_s = retention_s
        self._publishing_s = publishing_s
        self._condemn = script(client, "condemn")

    def condemn(self, job_id: str) -> str:
        """End the job with an error, once; the session whose next job may go, or ''.

        What its record was stays beside it for as long.
        """
        session_id, error = self._session_of(job_id), JobError(reason=REASON)
        stand_in = JobSpec(job_id=job_id, session_id=session_id or _NAMELESS, input_text=REASON)
        with broker_faults():
            is_ended_now = self._condemn(
                keys=[
                    keys.job(job_id),
                    keys.damaged(job_id),
                    keys.OPEN_JOBS,
                    keys.events(job_id),
                    keys.line(session_id) if session_id else "",
                    *keys.of_steps(),
                ],
                args=[
                    job_id,
                    stand_in.model_dump_json(exclude={"past"}),
                    stand_in.priority,
                    error.model_dump_json(),
                    keys.WAKE_CHANNEL,
                    EVENTS_KEPT,
                    self._retention_s,
                    ",".join(keys.MEMBRANES),
                    self._publishing_s,
                ],
            )
        if is_ended_now == "1":
            log.error("job given up", job_id=job_id, reason=REASON)
        return session_id

    def _session_of(self, job_id: str) -> str:
        """What half a record may still tell: older releases have it in the spec alone."""
        try:
            with broker_faults():
                known, text = self._redis.hmget(keys.job(job_id), "session", "spec")
        except ResponseError:  # no record at all
            return ""
        found = _SESSION.search(f'"session_id":"{known}"' if known else text or "")
        return found[1] if found else ""
