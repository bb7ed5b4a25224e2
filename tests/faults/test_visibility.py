"""Who is dead loses what he held, soon; who lives keeps it, however long it takes."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from kombu.transport import redis as kombu_redis
from processes import Site, until

from echo_tasks import holding, keys
from echo_tasks.leases import LEASE_S
from echo_tasks.reaper import REIGN_S, ROUND_S
from workers import visibility
from workers.pulse import Standstill

VISIBILITY_S = 3.0
SWEEP_S = VISIBILITY_S / 6


class Clock:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.at_s = 100.0

    def monotonic(self) -> float:
        return self.at_s


@pytest.fixture
def sweeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times at which kombu's own sweep is called."""
    called: list[float] = []
    monkeypatch.setattr(kombu_redis.QoS, "restore_visible", lambda *_: called.append(holding.time.monotonic()))
    return called


def test_sweeps_wait_until_everybody_could_renew(monkeypatch: pytest.MonkeyPatch, sweeps: list[float]) -> None:
    """A new connection, and one whose sweeps came late, sweep only after a renewal's time."""
    clock = Clock()
    monkeypatch.setattr(holding, "time", clock)
    qos = holding.QoS(SimpleNamespace(visibility_timeout=15.0, do_restore=False))

    def turn(seconds: int) -> None:
        for _ in range(seconds):
            clock.at_s += 1
            qos.restore_visible()

    turn(4)
    assert not sweeps
    turn(3)
    assert sweeps == [105, 106, 107]
    clock.at_s += 6
    turn(5)
    assert len(sweeps) == 3
    turn(1)
    assert sweeps[-1] == clock.at_s


def test_only_what_is_still_there_is_renewed(broker: redis.Redis) -> None:
    """A tag that was acknowledged, or taken back, meanwhile does not come back."""
    index = holding.INDEX
    broker.zadd(index, {"mine": 1, "another's": 2})
    visibility.renew(broker, {"mine", "acknowledged"}, 50)
    visibility.renew(broker, set(), 60)
    assert dict(broker.zrange(index, 0, -1, withscores=True)) == {"another's": 2, "mine": 50}
    broker.delete(index)


def consumer(delivered: list[str], dirty: set[str]) -> Any:
    """A consumer with so much of a channel as matters."""
    qos = SimpleNamespace(_delivered=dict.fromkeys(delivered), _dirty=dirty)
    return SimpleNamespace(task_consumer=SimpleNamespace(channel=SimpleNamespace(qos=qos)))


def test_what_is_held_is_delivered_or_run_and_not_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefetched messages, and those of steps that outlived their connection."""

    def request(tag: str, acknowledged: bool) -> Any:
        return SimpleNamespace(message=SimpleNamespace(delivery_tag=tag), acknowledged=acknowledged)

    running = {"1": request("outlived", False), "2": request("done", True)}
    monkeypatch.setattr(visibility.state, "requests", running)
    assert visibility.held(consumer(["prefetched", "acked"], {"acked"})) == {"prefetched", "outlived"}
    assert visibility.held(SimpleNamespace(task_consumer=None)) == {"outlived"}


def test_a_standstill_counts_what_was_seen() -> None:
    """Movement ends it, and of a gap in the looks only twice the usual distance counts."""
    still = Standstill(every_s=2)
    assert still.look(10, moves=False) == 0
    assert still.look(12, moves=False) == 2
    assert still.look(1000, moves=False) == 6
    assert still.look(1002, moves=True) == 0
    assert still.look(1003, moves=False) == 1


@pytest.fixture
def own(tmp_path: Path, talkative: Path) -> Site:
    """A farm whose messages are overdue after three seconds, and whose steps take longer."""
    env = {"ECHO_MODEL": str(talkative), "ECHO_SLOTS": "1", "ECHO_GRACE_S": "0"}
    return Site(tmp_path, env | {"ECHO_VISIBILITY_S": f"{VISIBILITY_S:g}"})


def submit(own: Site, max_tokens: int) -> str:
    body = {
        "input_text": "Hello.",
        "membranes": ["memory"],
        "options": {"max_tokens": max_tokens, "temperature": 0},
        "cache": False,
    }
    return str(own.post("/api/jobs", body).json["job_id"])


def deliveries(own: Site, job_id: str) -> int:
    """How often the job's membrane has been taken up."""
    with redis.Redis.from_url(own.broker_url) as client:
        return int(client.hget(keys.job(job_id), "deliveries:memory") or 0)


def wait_until_running(own: Site, job_id: str) -> None:
    until(lambda: deliveries(own, job_id), "it runs")


@pytest.mark.farm
def test_a_killed_workers_messages_are_soon_with_another(own: Site) -> None:
    """What it ran, once its lease is over; and another may hold it for longer than the timeout."""
    with own.server("broker"), own.server("store"), own.http(), own.worker(name="first") as first:
        job_id = submit(own, 2000)
        wait_until_running(own, job_id)
        with own.worker(name="second"):
            first.process.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            until(lambda: deliveries(own, job_id) == 2, "another takes it", LEASE_S + REIGN_S + 4 * ROUND_S)
            assert time.monotonic() - killed > LEASE_S / 2, "a living worker's message was taken"
            time.sleep(VISIBILITY_S + 4 * SWEEP_S)
            assert deliveries(own, job_id) == 2


@pytest.mark.farm
@pytest.mark.timeout(240)
def test_a_long_step_is_not_doubled_not_even_by_the_brokers_death(own: Site) -> None:
    """With an idle worker beside it that looks for overdue messages; the broker is away for longer than the timeout."""
    with own.server("store"), own.http(), own.server("broker") as broker, own.worker(name="first") as first:
        job_id = submit(own, 4096)
        wait_until_running(own, job_id)
        with own.worker(name="second") as second:
            time.sleep(VISIBILITY_S + 4 * SWEEP_S)
            assert deliveries(own, job_id) == 1
            broker.stop(signal.SIGKILL)
            time.sleep(VISIBILITY_S + 1)
            with own.server("broker"):
                time.sleep(2 * VISIBILITY_S)
                assert deliveries(own, job_id) == 1
                for worker in (first, second):  # while their broker is there: they would wait for it half a minute
                    worker.stop(signal.SIGKILL)
