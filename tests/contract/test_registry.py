"""The registry's records: by the broker's clock alone, and of what is sane."""

from __future__ import annotations

import json
import time

import pytest
import redis
from records import a_worker

from echo_tasks import keys
from echo_tasks.liveness import Liveness
from echo_tasks.registry import Registry


@pytest.fixture
def registry(broker: redis.Redis) -> Registry:
    broker.flushdb()
    return Registry(broker)


def test_records_are_stamped_by_the_brokers_clock(registry: Registry, broker: redis.Redis) -> None:
    """Whatever a worker takes the time to be: its start and its latest word are the broker's moments."""
    registry.announce(a_worker("w@test", started_at=9e9, seen_at=9e9), up_s=100)
    (seen,) = registry.live()
    seconds, micros = broker.time()
    assert abs(seen.seen_at - (seconds + micros / 1e6)) < 5
    assert seen.seen_at - seen.started_at == pytest.approx(100, abs=0.01)


def test_a_heartbeat_is_one_round_trip(registry: Registry, broker: redis.Redis) -> None:
    """One script; and a dead worker is known to be within its leases and five seconds."""
    registry.announce(a_worker("w@test"))
    before = broker.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
    registry.announce(a_worker("w@test"))
    assert broker.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 1
    assert 5000 < broker.pttl(keys.worker("w@test")) <= 6000


@pytest.mark.parametrize("lease_s", [1, 6, 60])
def test_times_keep_their_proportions(broker: redis.Redis, lease_s: float) -> None:
    """Two heartbeats may be missed, and a reaper's successor has judged a dead worker's steps within two leases."""
    times = Liveness(lease_s)
    Registry(broker, times).announce(a_worker("w@test"))
    assert 800 * lease_s < broker.pttl(keys.worker("w@test")) <= 1000 * lease_s
    assert times.renewal_s * 2 < times.record_s <= times.lease_s
    assert 2 * times.round_s < times.reign_s
    assert times.lease_s + times.reign_s + 2 * times.round_s < 2 * times.lease_s


def test_a_lie_does_not_mislead(registry: Registry, broker: redis.Redis) -> None:
    """Figures beyond reason count as the last reasonable one; a worker of a million slots is none."""
    lies = {"busy": -5, "waiting": 10**9, "cpu": -1.0, "memory_bytes": -1, "tokens_per_s": 1e300}
    record = json.loads(a_worker("w@test").model_dump_json())
    for node, told in (("liar@test", lies), ("vast@test", {"slots": 10**6}), ("less@test", {"slots": -1})):
        broker.set(keys.worker(node), json.dumps(record | told | {"node": node, "mean_service_s": float("nan")}))
        broker.sadd(keys.WORKERS, node)
    (liar,) = registry.live()
    assert (liar.busy, liar.waiting, liar.cpu, liar.memory_bytes) == (0, 1024, 0, 0)
    assert (liar.tokens_per_s, liar.mean_service_s) == (1e9, 0)


def test_who_is_asked_to_drain_is_told_and_counts_as_draining(registry: Registry, broker: redis.Redis) -> None:
    """At the next heartbeat, and every one after it; for all others, at once."""
    assert not registry.announce(a_worker("w@test"))
    assert registry.drain("w@test")
    assert [worker.draining for worker in registry.live()] == [True]
    assert registry.announce(a_worker("w@test"))
    assert registry.announce(a_worker("w@test"))
    assert broker.ttl(keys.drain("w@test")) > 60


def test_nobody_else_can_be_asked(registry: Registry, broker: redis.Redis) -> None:
    """A worker that is not there cannot drain, and a namesake that comes later is not asked to."""
    assert not registry.drain("w@test")
    assert not registry.announce(a_worker("w@test"))
    registry.drain("w@test")
    registry.withdraw("w@test")
    assert not registry.announce(a_worker("w@test"))
    assert registry.live() != []


def test_who_is_silent_is_gone(registry: Registry, broker: redis.Redis) -> None:
    """Its record expires, and the next reader clears its name away."""
    registry.announce(a_worker("w@test"))
    broker.pexpire(keys.worker("w@test"), 1)
    time.sleep(0.01)
    assert registry.snapshot()[1] == []
    assert broker.scard(keys.WORKERS) == 0
