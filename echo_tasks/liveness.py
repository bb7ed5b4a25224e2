"""How long a silent worker counts as alive: the times of leases, heartbeats and the reaper."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Liveness:
    """Times in seconds that follow from the lease's, ECHO_LEASE_S. Two renewals in a row may fail without harm."""

    lease_s: float = 6.0
    """How long a worker holds a step without renewing its lease."""

    @property
    def renewal_s(self) -> float:
        """Between two renewals of leases, and between two heartbeats."""
        return self.lease_s / 3

    @property
    def record_s(self) -> float:
        """How long a worker's record outlives its latest heartbeat."""
        return self.lease_s

    @property
    def round_s(self) -> float:
        """Between two rounds of the reaper."""
        return self.lease_s / 6

    @property
    def reign_s(self) -> float:
        """How long no other reaper takes over after a round."""
        return self.lease_s / 2

    @property
    def direct_s(self) -> float:
        """How long a message may wait in one worker's own queue before every worker may have it."""
        return self.lease_s / 3
