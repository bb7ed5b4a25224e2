"""Readings of a farm at two moments, ten seconds apart, with the expositions that they are made of."""

from __future__ import annotations

from dataclasses import replace

from echo_tasks.messages import ScalingEvent, ScalingState, WorkerRecord
from monitoring.terminal.exposition import Samples
from monitoring.terminal.reading import Farm, Reading

EXPORTER = """\
# HELP celery_queue_length Messages that wait, over all priorities.
# TYPE celery_queue_length gauge
celery_queue_length{{queue_name="echo.integration"}} 0.0
celery_queue_length{{queue_name="echo.memory"}} 12.0
celery_queue_length{{queue_name="echo.reasoning"}} 3.0
celery_queue_length{{queue_name="echo.grammar"}} 0.0
celery_queue_length{{queue_name="echo.direct"}} 7.0
celery_queue_length{{queue_name="bulk"}} 1.0
# TYPE echo_queue_oldest_message_age_seconds gauge
echo_queue_oldest_message_age_seconds{{queue_name="echo.memory"}} 3.25
echo_queue_oldest_message_age_seconds{{queue_name="echo.direct"}} 90.0
# TYPE echo_queue_in_flight gauge
echo_queue_in_flight{{queue_name="echo.memory"}} 8.0
echo_queue_in_flight{{queue_name="echo.integration"}} 4.0
# TYPE echo_jobs_accepted_total counter
echo_jobs_accepted_total {accepted}
# TYPE echo_jobs_ended_total counter
echo_jobs_ended_total{{status="succeeded"}} {succeeded}
echo_jobs_ended_total{{status="failed"}} 4.0
# TYPE echo_jobs_open gauge
echo_jobs_open 20.0
# TYPE echo_dead_letters gauge
echo_dead_letters 1.0
# TYPE echo_server_up gauge
echo_server_up{{server="broker"}} 1.0
echo_server_up{{server="store"}} 0.0
# TYPE echo_server_memory_bytes gauge
echo_server_memory_bytes{{server="broker"}} 1.048576e+08
# TYPE echo_server_memory_limit_bytes gauge
echo_server_memory_limit_bytes{{server="broker"}} 0.0
# TYPE echo_server_clients gauge
echo_server_clients{{server="broker"}} 23.0
"""

API = """\
# TYPE cache_total_requests counter
cache_total_requests {lookups}
# TYPE cache_total_hits counter
cache_total_hits {hits}
# TYPE cache_level_requests untyped
cache_level_requests{{level="L1"}} {lookups}
cache_level_requests{{level="L2"}} 50.0
# TYPE cache_level_hits untyped
cache_level_hits{{level="L1"}} {hits}
cache_level_hits{{level="L2"}} 10.0
"""

WORKER = """\
# TYPE echo_state_lookups_total counter
echo_state_lookups_total{{result="hit"}} {hit}
echo_state_lookups_total{{result="miss"}} 30.0
"""

NOW = 1_700_000_000.0


def worker(node: str = "worker1@one", **said: object) -> WorkerRecord:
    """A worker's word of a second ago."""
    known = {
        "node": node,
        "pid": 1,
        "queues": ["echo.memory"],
        "slots": 8,
        "busy": 6,
        "tokens_per_s": 120.5,
        "cpu": 0.9,
        "memory_bytes": 350 * 2**20,
        "model_id": "m",
        "answers_id": "a",
        "model_name": "echo-mini",
        "version": "0.1.0",
        "started_at": NOW - 100,
        "seen_at": NOW - 1,
    }
    return WorkerRecord.model_validate(known | said)


SCALING = ScalingState(
    controller="one:7",
    at=NOW,
    actuator="processes",
    is_enabled=True,
    least=1,
    most=10,
    desired=3,
    serving=2,
    starting=1,
    draining=0,
    reason="burst",
    utilisation=0.83,
)


def event(**said: object) -> ScalingEvent:
    """A decision to have a third worker."""
    known = {"at": NOW - 60, "controller": "one:7", "reason": "burst", "current": 2, "desired": 3, "utilisation": 1.2}
    counts = dict.fromkeys(("serving", "starting", "draining", "slots", "busy", "delivered", "ready", "arrived"), 0)
    return ScalingEvent.model_validate(known | counts | {"oldest_s": 0.0} | said)


def reading(at: float, *, accepted: int, succeeded: int, lookups: int, hits: int, state_hits: int) -> Reading:
    """A farm of two workers that all can reach."""
    return Reading(
        at,
        Farm(NOW, (worker(), worker("worker2@one", busy=2)), SCALING, (event(),)),
        Samples.parsed(EXPORTER.format(accepted=accepted, succeeded=succeeded)),
        Samples.parsed(API.format(lookups=lookups, hits=hits)),
        Samples.parsed(WORKER.format(hit=state_hits)),
    )


BEFORE = reading(100.0, accepted=1000, succeeded=980, lookups=100, hits=50, state_hits=60)
AFTER = reading(110.0, accepted=1123, succeeded=1100, lookups=200, hits=130, state_hits=70)


def with_workers(*workers: WorkerRecord) -> Reading:
    """The later moment, with these workers."""
    assert AFTER.farm
    return replace(AFTER, farm=replace(AFTER.farm, workers=workers))
