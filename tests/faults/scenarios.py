"""The faults, by name: each harms a farm under load for a while, and leaves it whole."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import redis
from crowd import crowd
from fleet import Fleet
from proxy import Weather
from verdict import Answers, Verdict, judge, open_jobs

from echo_tasks import keys
from echo_tasks.publishing import Publisher


@dataclass(frozen=True)
class Size:
    """How long faults go on, how often one of a kind comes, for how long something is away, and clients wait.

    `pause_s` is between an answer and the client's next request.
    """

    spell_s: float
    every_s: float
    away_s: float
    patience_s: float
    pause_s: float = 0


QUICK = Size(spell_s=2, every_s=1, away_s=2.5, patience_s=150, pause_s=0.4)
LONG = Size(spell_s=60, every_s=5, away_s=5, patience_s=120)


Scenario = Callable[[Fleet, Size], None]


def killed_workers(fleet: Fleet, size: Size) -> None:
    """SIGKILL of one worker after the other; each has a successor."""
    for _ in range(round(size.spell_s / size.every_s)):
        fleet.kill()
        time.sleep(size.every_s)


def stopped_worker(fleet: Fleet, size: Size) -> None:
    """SIGSTOP for longer than its messages and its leases wait for it, then SIGCONT."""
    fleet.strike()
    fleet.workers[0].running.send(signal.SIGSTOP)
    time.sleep(2 * max(fleet.visibility_s, fleet.lease_s))
    fleet.workers[0].running.send(signal.SIGCONT)
    time.sleep(size.away_s)


def killed_broker(fleet: Fleet, size: Size) -> None:
    """SIGKILL of the broker while steps run, and its restart; the API answers 503 meanwhile."""
    fleet.strike()
    fleet.broker.end(signal.SIGKILL)
    refused = fleet.site.request("POST", "/api/jobs", {"input_text": "Hello."}, timeout=20)
    assert refused.status == 503, refused
    time.sleep(size.away_s)
    fleet.broker.start()


def lost_connections(fleet: Fleet, size: Size) -> None:
    """The broker closes all connections, five times."""
    with fleet.client() as client:
        for _ in range(5):
            fleet.strike()
            for kind in ("normal", "pubsub"):
                client.execute_command("CLIENT", "KILL", "TYPE", kind)
            time.sleep(size.every_s / 2)


def paused_broker(fleet: Fleet, size: Size) -> None:
    """The broker takes no commands for a while, which begins while steps run."""
    fleet.strike()
    with fleet.client() as client:
        client.execute_command("CLIENT", "PAUSE", round(1000 * size.away_s))
    time.sleep(size.away_s)


def half_open(fleet: Fleet, size: Size) -> None:
    """All connections go silent without an end while steps run; new ones work."""
    fleet.strike()
    fleet.proxy.lose()
    time.sleep(size.away_s)


def bad_weather(fleet: Fleet, size: Size) -> None:
    """A slow, throttled network, on which connections are reset now and then."""
    with fleet.proxy.under(Weather(delay_s=0.01, bytes_per_s=1e6)):
        for _ in range(3):
            time.sleep(size.every_s / 3)
            fleet.strike()
            fleet.proxy.cut(reset=True)


def lost_message(fleet: Fleet, size: Size) -> None:
    """A worker has popped a message, and dies before the broker hears that it holds it."""
    once = threading.Lock()

    def tells_of_a_message(data: bytes) -> bool:
        is_note = all(word in data for word in (b"MULTI", b"ZADD", b"HSET", b"unacked"))
        return is_note and once.acquire(blocking=False)

    with fleet.proxy.under(Weather(loses=tells_of_a_message)):
        assert fleet.proxy.lost.wait(60), "no worker took a message"
    assert fleet.proxy.lost_link is not None
    fleet.kill(fleet.owner(fleet.proxy.lost_link))


def rolling_restart(fleet: Fleet, size: Size) -> None:
    """SIGTERM and a successor for every worker in turn, then for the API."""
    for process in (*fleet.workers, fleet.api):
        fleet.strike()
        process.end()
        process.start()


def duplicates(fleet: Fleet, size: Size) -> None:
    """Every step of every open job is published again and again, by hand."""
    publisher = Publisher(fleet.behind.broker_url)
    until = time.monotonic() + size.spell_s / 2
    with fleet.client() as client:
        while time.monotonic() < until:
            fleet.strike()
            for job_id in client.zrange(keys.OPEN_JOBS, 0, -1):
                publisher.publish(job_id, keys.STEPS, 1)
            time.sleep(0.2)


def flushed_store(fleet: Fleet, size: Size) -> None:
    """The cache forgets all, every now and then."""
    with redis.Redis.from_url(fleet.behind.store_url) as store:
        for _ in range(3):
            time.sleep(size.every_s / 3)
            fleet.strike()
            store.flushall()


SCENARIOS: dict[str, Scenario] = {
    "killed-workers": killed_workers,
    "stopped-worker": stopped_worker,
    "killed-broker": killed_broker,
    "lost-connections": lost_connections,
    "paused-broker": paused_broker,
    "half-open": half_open,
    "bad-weather": bad_weather,
    "lost-message": lost_message,
    "rolling-restart": rolling_restart,
    "duplicates": duplicates,
    "flushed-store": flushed_store,
}


SLOW = frozenset({"half-open"})
"""Not for the quick size: kombu takes some 20 s to find out."""


def undisturbed(fleet: Fleet, scripts: Sequence[int]) -> Answers:
    """What the farm answers to these scripts when it is left alone."""
    with crowd(fleet.site, scripts, QUICK.patience_s) as asked:
        pass
    return {(one.script, one.place): one.answer or "" for one in asked}


def run(name: str, fleet: Fleet, size: Size, expected: Answers) -> Verdict:
    """Harm the farm under load, and judge what came of the load."""
    fleet.strikes.clear()
    with fleet.client() as client:
        forgotten = open_jobs(client)
    scripts = sorted({script for script, _ in expected})
    with crowd(fleet.site, scripts, size.patience_s, pause_s=size.pause_s) as asked:
        SCENARIOS[name](fleet, size)
    fleet.settle()
    with fleet.client() as client:
        return judge(name, asked, expected, fleet.strikes, client, forgotten)
