"""The dead-letter list: jobs that were given up, with their requests, so that they can be asked again.

The reaper puts a job there in the script that ends it; the list holds the latest ones (`ledger.DEAD_LETTERS_KEPT`).
Every method raises BrokerUnavailable.
"""

from __future__ import annotations

import json
import uuid

import redis

from echo_tasks import keys, logs, tracing, versions
from echo_tasks.access.quotas import Account
from echo_tasks.connections import broker_faults
from echo_tasks.dispatch import Dispatcher
from echo_tasks.errors import LetterNotFound, RecordTooNew
from echo_tasks.ledger import Idempotency, Ledger
from echo_tasks.messages import DeadLetter, JobRequest, JobSpec
from echo_tasks.scripts import script

log = logs.get(__name__)


class DeadLetters:
    """The dead letters on one broker."""

    def __init__(self, client: redis.Redis, ledger: Ledger, dispatcher: Dispatcher) -> None:
        self._redis = client
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._page = script(client, "letters")

    def count(self) -> int:
        """How many letters there are."""
        with broker_faults():
            return int(self._redis.zcard(keys.DEAD_LETTERS))

    def page(self, *, offset: int = 0, limit: int = 100) -> list[DeadLetter]:
        """Some of the letters, the latest first; without those that only newer processes can read."""
        with broker_faults():
            texts = self._page(keys=[keys.DEAD_LETTERS, keys.LETTERS], args=[offset, limit])
        found = []
        for text in filter(None, texts):
            try:
                found.append(_read(text))
            except RecordTooNew as error:
                log.warning("dead letter left out", error=str(error))
        return found

    def read(self, job_id: str) -> DeadLetter:
        """The letter of a job. Raises LetterNotFound and RecordTooNew."""
        with broker_faults():
            text = self._redis.hget(keys.LETTERS, job_id)
        if text is None:
            raise LetterNotFound(job_id)
        return _read(text)

    def discard(self, job_id: str) -> None:
        """Take the letter of a job off the list. Raises LetterNotFound."""
        with broker_faults(), self._redis.pipeline() as pipe:
            pipe.zrem(keys.DEAD_LETTERS, job_id)
            pipe.hdel(keys.LETTERS, job_id)
            if not pipe.execute()[1]:
                raise LetterNotFound(job_id)

    def replay(self, job_id: str) -> JobSpec:
        """Ask for a job again: a new one in the same session, after which the letter goes.

        Two who replay a letter at once, or one who tries again after a fault, make one job. It belongs to the owner of
        the job before, and to the trace of whoever asks now, or else to that of the job before. Raises LetterNotFound
        and RecordTooNew.
        """
        letter = self.read(job_id)
        before = letter.spec
        tracing.active().link(before.trace)
        request = before.model_dump(include={*JobRequest.model_fields, "session_id"})
        trace = {"trace": dict(tracing.current() or before.trace)}
        spec = JobSpec.model_validate(request | trace | {"job_id": uuid.uuid4().hex, "replay_of": job_id})
        key = Idempotency(f"dead-letter {job_id}", job_id)
        created = self._ledger.create(spec, key, names_session=False, account=Account(letter.owner))
        self._dispatcher.advance(spec.session_id)
        with broker_faults(), self._redis.pipeline() as pipe:
            pipe.zrem(keys.DEAD_LETTERS, job_id)
            pipe.hdel(keys.LETTERS, job_id)
            pipe.execute()
        return spec.model_copy(update={"job_id": created.job_id})


def _read(text: str) -> DeadLetter:
    """A letter as it is kept. Raises RecordTooNew."""
    versions.check(json.loads(text).get("version"))
    return DeadLetter.model_validate_json(text)
