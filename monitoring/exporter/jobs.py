"""Jobs, steps, sessions and dead letters, by the ledger: its counts, and what is open now."""

from __future__ import annotations

from collections.abc import Iterator

import redis
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric

from echo_tasks import keys
from echo_tasks.connections import broker_faults
from echo_tasks.counts import Counts
from echo_tasks.telemetry import farm
from echo_tasks.telemetry.sessions import ACTIVE_SESSIONS
from monitoring.exporter.families import counter, counters, gauge, gauges


class Jobs:
    """Reads the ledger of one broker."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def families(self, now: float) -> Iterator[Metric]:
        """The metrics at a moment of the broker's clock. One round trip; raises BrokerUnavailable."""
        with broker_faults(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.COUNTS)
            pipe.zcard(keys.OPEN_JOBS)
            pipe.zcard(keys.DEAD_LETTERS)
            pipe.zcount(keys.SESSIONS, f"({now:.6f}", "+inf")
            for membrane in keys.MEMBRANES:
                pipe.scard(keys.awaiting(membrane))
            told, is_open, letters, sessions, *awaiting = pipe.execute()
        yield gauge(farm.JOBS_OPEN, is_open)
        yield gauges(farm.MEMBRANE_JOBS_OPEN, "step", dict(zip(keys.MEMBRANES, awaiting, strict=True)))
        yield gauge(farm.DEAD_LETTERS, letters)
        for name in ACTIVE_SESSIONS:
            yield gauge((name, "Sessions that are live and count against MAX_CONCURRENT_SESSIONS."), sessions)
        yield from of_counts(Counts.of(told))


def of_counts(counts: Counts) -> Iterator[Metric]:
    """The ledger's counts as metrics."""
    yield counter(farm.JOBS_ACCEPTED, counts.jobs_accepted)
    yield counter(farm.JOBS_ABANDONED, counts.jobs_abandoned)
    yield counters(farm.JOBS_ENDED, "status", counts.jobs_ended)
    ended = CounterMetricFamily(*farm.STEPS_ENDED, labels=["step", "outcome"])
    for labels, count in counts.steps_ended.items():
        ended.add_metric(list(labels), count)
    yield ended
    yield counters(farm.STEPS_RETRIED, "step", counts.steps_retried)
    yield counters(farm.STEPS_REDELIVERED, "step", counts.steps_redelivered)
    yield counter(farm.DEAD_LETTERS_EVER, counts.dead_letters)
