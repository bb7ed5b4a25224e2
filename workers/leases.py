"""The leases of a worker's running steps: kept alive by a thread of its own, and given back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from echo_tasks import logs
from echo_tasks.errors import BrokerUnavailable
from echo_tasks.leases import Claim, StepLedger
from echo_tasks.liveness import Liveness
from echo_tasks.messages import Lease
from echo_tasks.periodic import Periodic
from echo_tasks.telemetry.steps import LEASES_LOST

log = logs.get(__name__)


@dataclass(slots=True)
class _Held:
    until: float  # by `time.monotonic`
    cancelled: threading.Event


class Leases:
    """Renews what is held with one script every third of a lease; what is lost has its generation cancelled.

    `steps` should be impatient: a renewal that waits for the broker's return comes too late.
    """

    def __init__(self, steps: StepLedger) -> None:
        self._steps = steps
        self._held: dict[Lease, _Held] = {}
        self._to_hand_back: set[Lease] = set()
        self._lock = threading.Lock()  # guards both tables
        self._thread = Periodic("leases", self.renew, Liveness(steps.lease_s).renewal_s)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._thread.stop()

    @contextmanager
    def held(self, claim: Claim, cancelled: threading.Event) -> Iterator[None]:
        """Keep a claim's lease alive meanwhile; `cancelled` is set when it is lost."""
        with self._lock:
            self._held[claim.lease] = _Held(claim.held_until, cancelled)
        try:
            yield
        finally:
            with self._lock:
                del self._held[claim.lease]

    def holds(self, lease: Lease) -> bool:
        """Whether it is certain, without asking, that nobody else has the step: this process was not frozen since."""
        with self._lock:
            held = self._held.get(lease)
            return held is not None and not held.cancelled.is_set() and time.monotonic() < held.until

    def hand_back(self, lease: Lease) -> None:
        """Let go of a step whose message goes back to its queue: now, or as soon as the broker is there again."""
        try:
            self._steps.hand_back(lease)
        except BrokerUnavailable:
            with self._lock:
                self._to_hand_back.add(lease)

    def renew(self) -> None:
        """Renew all that is held. Raises BrokerUnavailable."""
        with self._lock:
            to_hand_back = tuple(self._to_hand_back)
        for lease in to_hand_back:
            self._steps.hand_back(lease)
            with self._lock:
                self._to_hand_back.discard(lease)
        with self._lock:
            leases = [lease for lease, held in self._held.items() if not held.cancelled.is_set()]
        asked_at = time.monotonic()
        lost = self._steps.renew(leases) if leases else set()
        with self._lock:
            for lease in leases:
                if held := self._held.get(lease):
                    held.until = asked_at + self._steps.lease_s
                    if lease in lost:
                        log.info("lease is over", job_id=lease.job_id, step=lease.step)
                        LEASES_LOST.inc()
                        held.cancelled.set()
