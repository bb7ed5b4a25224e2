"""Who is dead loses what he held, soon; who lives keeps it, however long it takes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from fleet import Kept
from kombu.transport import redis as kombu_redis
from processes import Site, until

from echo_tasks import holding, keys
from workers import visibility
from workers.pulse import Standstill

VISIBILITY_S = 1.0
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


class Pair:
    """A farm of two workers, of which tests kill one or the other, and of a broker that they kill."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.broker = Kept(lambda: site.server("broker"))
        self.workers = {name: Kept(lambda name=name: site.worker(name=name)) for name in ("first", "second")}

    def revive(self) -> None:
        """Start the workers that are dead."""
        for worker in self.workers.values():
            if not hasattr(worker, "running") or worker.running.process.poll() is not None:
                worker.end()
                worker.start()

    def end(self) -> None:
        """End everything: the workers while their broker is there, for which they would wait half a minute."""
        for worker in self.workers.values():
            worker.end(signal.SIGKILL)
        self.broker.end()

    def running_job(self) -> str:
        """The id of a job whose only step runs until it is cancelled."""
        options = {"max_tokens": 4096, "temperature": 0}
        body = {"input_text": "Hello.", "membranes": ["memory"], "options": options, "cache": False}
        job_id = str(self.site.post("/api/jobs", body).json["job_id"])
        until(lambda: self.told(job_id, "deliveries"), "it runs")
        return job_id

    def told(self, job_id: str, what: str) -> str | None:
        """A field of the job's record on its membrane: `deliveries`, or `node`."""
        with redis.Redis.from_url(self.site.broker_url, decode_responses=True) as client:
            found: str | None = client.hget(keys.job(job_id), f"{what}:memory")
            return found

    def held(self) -> set[bytes]:
        """The tags of the messages that workers have taken and not acknowledged."""
        with redis.Redis.from_url(self.site.broker_url) as client:
            return set(client.hkeys(holding.HELD))

    def cancel(self, job_id: str) -> None:
        """Cancel the job, which has not ended before."""
        assert self.site.request("DELETE", f"/api/jobs/{job_id}").json["status"] == "cancelled"


@pytest.fixture(scope="module")
def farm_of_two(tmp_path_factory: pytest.TempPathFactory, talkative: Path) -> Iterator[Pair]:
    """A farm whose messages are overdue soon, and whose steps take longer."""
    env = {"ECHO_MODEL": str(talkative), "ECHO_SLOTS": "1", "ECHO_GRACE_S": "0"}
    site = Site(tmp_path_factory.mktemp("pair"), env | {"ECHO_VISIBILITY_S": f"{VISIBILITY_S:g}"})
    made = Pair(site)
    made.broker.start()
    with site.server("store"), site.http():
        try:
            yield made
        finally:
            made.end()


@pytest.fixture
def pair(farm_of_two: Pair) -> Pair:
    """It, with two workers that live."""
    farm_of_two.revive()
    return farm_of_two


@pytest.mark.farm
@pytest.mark.timeout(240)
def test_a_long_step_is_not_doubled_not_even_by_the_brokers_death(pair: Pair) -> None:
    """With an idle worker beside it that looks for overdue messages; the broker is away for longer than the timeout."""
    job_id = pair.running_job()
    message = pair.held()
    assert len(message) == 1
    time.sleep(VISIBILITY_S + 4 * SWEEP_S)
    assert pair.held() == message
    assert pair.told(job_id, "deliveries") == "1"
    pair.broker.end(signal.SIGKILL)
    time.sleep(VISIBILITY_S + 0.5)
    pair.broker.start()
    time.sleep(3 * VISIBILITY_S)
    assert pair.told(job_id, "deliveries") == "1"  # whoever has the message: a timeout of a second is short for this
    pair.cancel(job_id)


@pytest.mark.farm
@pytest.mark.timeout(240)
def test_a_killed_workers_messages_are_soon_with_another(pair: Pair) -> None:
    """What it ran, once its lease is over; and another may hold it for longer than the timeout."""
    job_id = pair.running_job()
    node = pair.told(job_id, "node")
    assert node is not None
    pair.workers[node.partition("@")[0]].end(signal.SIGKILL)
    until(lambda: pair.told(job_id, "deliveries") == "2", "another takes it")
    assert pair.told(job_id, "node") != node
    time.sleep(VISIBILITY_S + 4 * SWEEP_S)
    assert pair.told(job_id, "deliveries") == "2"
    pair.cancel(job_id)
