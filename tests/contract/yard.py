"""A broker's database of a test's own, with everything that touches jobs but workers; time passes by hand."""

from __future__ import annotations

import json
import uuid
from typing import Any

from echo_tasks import connections, keys
from echo_tasks.dispatch import Dispatcher
from echo_tasks.leases import Claim
from echo_tasks.ledger import Ledger
from echo_tasks.letters import DeadLetters
from echo_tasks.messages import JobSpec, Lease
from echo_tasks.publishing import Publisher
from echo_tasks.reaper import Reaper
from echo_tasks.sessions import SessionBounds

LONG_AGO = 1.0


class Yard:
    """Ledger, queues and reapers on one database, which is empty at first."""

    def __init__(self, url: str) -> None:
        self.broker = connections.impatient(url)
        self.broker.flushdb()
        self.ledger = Ledger(self.broker, retention_s=600, session_s=600, bounds=SessionBounds(live=10_000))
        self.publisher = Publisher(url)
        self.dispatcher = Dispatcher(self.ledger, self.publisher, None)
        self.letters = DeadLetters(self.broker, self.ledger, self.dispatcher)
        self.reaper = self.a_reaper()

    def a_reaper(self, **options: Any) -> Reaper:
        """A reaper that judges leases at once."""
        parts = (self.broker, self.ledger, self.publisher, self.dispatcher)
        return Reaper(*parts, **({"max_deliveries": 3, "grace_s": 0} | options))

    def accepted(self, **fields: Any) -> JobSpec:
        """A job whose maker died before he let it go."""
        ids = {"job_id": uuid.uuid4().hex, "session_id": uuid.uuid4().hex, "membranes": ["memory"]}
        spec = JobSpec.model_validate(ids | {"input_text": "Hello."} | fields)
        self.ledger.create(spec)
        return spec

    def published(self, **fields: Any) -> JobSpec:
        """A job whose messages are on their queues."""
        spec = self.accepted(**fields)
        self.dispatcher.advance(spec.session_id)
        return spec

    def held(self, job_id: str, step: str = "memory", node: str = "") -> Lease:
        """The lease of a step that is claimed."""
        claim = self.ledger.steps.claim(job_id, step, node)
        assert isinstance(claim, Claim), claim
        return claim.lease

    def take(self, step: str = "memory") -> list[str]:
        """Take all messages of a step off its queues; the jobs, the first to be served first."""
        names = [keys.waiting(step, priority) for priority in range(keys.HIGHEST, 0, -1)]
        found = [message for name in names for message in reversed(self.broker.lrange(name, 0, -1))]
        self.broker.delete(*names)
        return [json.loads(message)["headers"]["id"].removesuffix(f".{step}") for message in found]

    def reap(self) -> None:
        """Two rounds: what is missing in one may just have been taken."""
        self.reaper.round()
        self.reaper.round()

    def wait(self) -> None:
        """Let enough time pass for everything that is looked at after a while; leases run out, too."""
        names = [*self.broker.scan_iter(keys.PUBLISHED + "*"), keys.LEASES, keys.DELAYED, keys.DEADLINES]
        for name in names:
            for member in self.broker.zrange(name, 0, -1):
                self.broker.zadd(name, {member: LONG_AGO})

    def tracked(self) -> set[str]:
        """All that somebody is to see to."""
        names = [*self.broker.scan_iter(keys.PUBLISHED + "*"), keys.LEASES, keys.DELAYED, keys.DEADLINES]
        return {member for name in [*names, keys.TRIALS] for member in self.broker.zrange(name, 0, -1)}
