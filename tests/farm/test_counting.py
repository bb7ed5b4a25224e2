"""Jobs of every fate: Celery's counters, the ledger's own counts and the records tell the same."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from exporting import Exporting, exporter
from processes import Site, until

from echo_tasks import counts, holding, keys
from echo_tasks.counts import Counts

pytestmark = [pytest.mark.farm, pytest.mark.timeout(560)]

SHORT = {"temperature": 0.0, "max_tokens": 2}
MEMBRANES: Sequence[list[str]] = (["memory"], ["grammar"], ["reasoning"], ["memory"], ["memory", "grammar"])
TOO_LONG = " ".join(f"word{number}" for number in range(400))


@dataclass(frozen=True)
class Mix:
    """How many jobs of each fate; those that wait are looked at while no worker is there."""

    waiting: int
    succeeding: int
    failing: int
    overdue: int
    cancelled: int
    hiccups: int
    killed: int

    @property
    def jobs(self) -> int:
        return sum(astuple(self))


SMALL = Mix(waiting=30, succeeding=56, failing=20, overdue=6, cancelled=20, hiccups=16, killed=4)
THOUSAND = Mix(waiting=40, succeeding=676, failing=100, overdue=12, cancelled=100, hiccups=60, killed=12)

SLOTS = 4


@pytest.fixture
def own(tmp_path: Path, talkative: Path) -> Iterator[Site]:
    """Servers and API, no worker, and an engine that takes no long prompts."""
    settings = {"ECHO_SLOTS": str(SLOTS), "ECHO_MODEL": str(talkative), "ENABLE_CACHING": "false"}
    settings |= {"ECHO_MAX_PROMPT_TOKENS": "512", "ECHO_VISIBILITY_S": "5"}
    site = Site(tmp_path, settings)
    with site.server("broker"), site.server("store"), site.http():
        yield site


@pytest.fixture
def broker(own: Site) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(own.broker_url, decode_responses=True) as client:
        yield client


HICCUPS = ("-I", "tests.farm.hiccups")


class Clients:
    """Clients that ask side by side, and what they have asked."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.jobs: list[str] = []

    def ask(self, number: int, text: str = "Hello", **fields: Any) -> str:
        """One job: its membranes and its priority go by its number, unless told otherwise."""
        body = {"input_text": f"{text} {number}.", "membranes": MEMBRANES[number % len(MEMBRANES)], "options": SHORT}
        reply = self._site.post("/api/jobs", body | {"priority": 1 + number % keys.HIGHEST} | fields)
        assert reply.status == 202, reply
        job_id: str = reply.json["job_id"]
        self.jobs.append(job_id)
        return job_id

    def ask_all(self, many: int, text: str = "Hello", **fields: Any) -> list[str]:
        """Many jobs, eight at a time."""
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda number: self.ask(number, text, **fields), range(many)))

    def cancel(self, jobs: Sequence[str]) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda job_id: self._site.request("DELETE", f"/api/jobs/{job_id}"), jobs))


@pytest.mark.parametrize("mix", [SMALL, pytest.param(THOUSAND, marks=pytest.mark.long)], ids=lambda mix: f"{mix.jobs}")
def test_counters_counts_and_records_tell_the_same(own: Site, broker: redis.Redis, mix: Mix) -> None:
    """By step and outcome, with priorities in use: succeeded, failed, overdue, cancelled, retried, and their workers
    killed. Before that, queues are as long and as old as the broker says.
    """
    clients = Clients(own)
    with exporter(own) as exporting:
        until(lambda: exporting.health() == 200, "the exporter hears")
        clients.ask_all(mix.waiting)
        _queues_are_as_the_broker_says(exporting, broker)
        _kill(own, broker, clients, mix.killed)
        clients.cancel(clients.ask_all(mix.cancelled // 2))  # in line
        with own.worker(*HICCUPS, name="second"), own.worker(*HICCUPS, name="third"):
            _fates(broker, clients, mix)
            until(lambda: _is_done(broker), "every job has ended, and every message is gone", within_s=400)
            assert len(clients.jobs) == mix.jobs
            ledger = counts.read(broker)
            until(lambda: _celery(exporting) == _of_celery(ledger), "all events are heard")
            _ledger_is_told(exporting, ledger, mix)
        _records_tell_the_same(broker, clients.jobs, ledger, mix)
        assert exporting.samples("echo_exporter_events_refused_total") == []
        assert exporting.samples("echo_exporter_reconnects_total") == [({}, 0)]


def _queues_are_as_the_broker_says(exporting: Exporting, broker: redis.Redis) -> None:
    """A direct look: at every message of every list, and at when its step was published."""
    lengths = exporting.by("celery_queue_length", "queue_name")
    ages = exporting.by("echo_queue_oldest_message_age_seconds", "queue_name")
    for step in keys.MEMBRANES:
        found = [
            (json.loads(text)["headers"]["id"], priority)
            for priority in range(1, keys.HIGHEST + 1)
            for text in broker.lrange(keys.waiting(step, priority), 0, -1)
        ]
        assert len({priority for _, priority in found}) > 1
        assert lengths[keys.queue(step)] == len(found)
        published = [broker.zscore(keys.lane(step, priority), name) for name, priority in found]
        assert ages[keys.queue(step)] == pytest.approx(time.time() - min(published), abs=2)
    assert exporting.by("echo_queue_in_flight", "queue_name") == {}


def _kill(site: Site, broker: redis.Redis, clients: Clients, many: int) -> None:
    """Workers, which answer those that have waited, are killed with a step in every slot; nobody takes them up until
    others come.
    """
    with ExitStack() as workers:
        victims = [
            workers.enter_context(site.worker("-I", "tests.farm.unhurried", name=f"victim{number}"))
            for number in range(many // SLOTS)
        ]
        until(lambda: broker.zcard(keys.OPEN_JOBS) == 0, "those that waited are answered")
        jobs = clients.ask_all(many, membranes=["memory"], options={"temperature": 0.0, "max_tokens": 100})
        leases = {f"{job_id}.memory" for job_id in jobs}
        until(lambda: leases <= set(broker.zrange(keys.LEASES, 0, -1)), "they hold them all")
        for victim in victims:
            victim.send(signal.SIGKILL)


def _fates(broker: redis.Redis, clients: Clients, mix: Mix) -> None:
    clients.ask_all(mix.failing, TOO_LONG)
    clients.ask_all(mix.hiccups, "hiccup")
    endless = {"membranes": ["memory"], "options": {"temperature": 0.0, "max_tokens": 4096}}
    clients.ask_all(mix.overdue, priority=10, timeout_s=1, **endless)
    clients.ask_all(mix.succeeding)
    for _ in range(mix.cancelled // 2 // SLOTS):
        jobs = [clients.ask(number, priority=10, **endless) for number in range(SLOTS)]
        until(lambda: all(_status(broker, job_id) != "queued" for job_id in jobs), "they run")  # noqa: B023
        clients.cancel(jobs)
    clients.cancel(clients.ask_all(mix.cancelled // 2 % SLOTS))


def _status(broker: redis.Redis, job_id: str) -> str:
    return broker.hget(keys.job(job_id), "status") or ""


def _is_done(broker: redis.Redis) -> bool:
    """Nothing is open, waits, or is held."""
    lists = [name for step in keys.STEPS for name in keys.lists(keys.queue(step))]
    return not broker.exists(keys.OPEN_JOBS, keys.DELAYED, keys.LEASES, holding.HELD, *lists)


def _celery(exporting: Exporting) -> dict[str, dict[str, float]]:
    """Celery's counters, by event and task, over all nodes and queues."""
    events = ("succeeded", "failed", "revoked", "retried")
    return {event: exporting.by(f"celery_task_{event}_total", "name") for event in events}


def _of_celery(ledger: Counts) -> dict[str, dict[str, float]]:
    """What Celery's counters are to be, by the ledger."""
    words = {"succeeded": "succeeded", "failed": "failed", "revoked": "cancelled"}
    told = {
        event: {keys.task(step): ledger.steps_ended[step, word] for step in keys.STEPS} for event, word in words.items()
    }
    told["retried"] = {keys.task(step): count for step, count in ledger.steps_retried.items()}
    return {event: {name: count for name, count in by_name.items() if count} for event, by_name in told.items()}


def _ledger_is_told(exporting: Exporting, ledger: Counts, mix: Mix) -> None:
    """The exporter's counters of the ledger are the ledger's."""
    assert exporting.samples("echo_jobs_accepted_total") == [({}, ledger.jobs_accepted)]
    assert exporting.by("echo_jobs_ended_total", "status") == ledger.jobs_ended
    ended = {labels: count for labels, count in ledger.steps_ended.items() if count}
    assert exporting.by("echo_steps_ended_total", "step", "outcome") == ended
    retried = {step: count for step, count in ledger.steps_retried.items() if count}
    assert exporting.by("echo_steps_retried_total", "step") == retried
    redelivered = {step: count for step, count in ledger.steps_redelivered.items() if count}
    assert exporting.by("echo_steps_redelivered_total", "step") == redelivered
    assert redelivered["memory"] >= mix.killed
    assert exporting.samples("echo_jobs_open") == [({}, 0)]


def _records_tell_the_same(broker: redis.Redis, jobs: Sequence[str], ledger: Counts, mix: Mix) -> None:
    """Every job's record: its end, its steps' ends, their faults and deliveries."""
    records = [broker.hgetall(keys.job(job_id)) for job_id in jobs]
    statuses = Counter(record["status"] for record in records)
    assert statuses == ledger.jobs_ended
    assert ledger.jobs_accepted == len(jobs)
    assert statuses["failed"] == mix.failing + mix.overdue
    assert 0 < statuses["cancelled"] <= mix.cancelled
    ended: Counter[tuple[str, str]] = Counter()
    for record in records:
        ended.update(_ended_steps(record))
    told = {labels: count for labels, count in ledger.steps_ended.items() if labels[1] != "cancelled"}
    assert {labels: ended[labels] for labels in told} == told
    for step in keys.STEPS:
        faults = sum(int(record.get(f"faults:{step}", 0)) for record in records)
        again = sum(int(record.get(f"deliveries:{step}", 1)) - 1 for record in records)
        assert faults == ledger.steps_retried[step]
        assert again - faults == ledger.steps_redelivered[step]


def _ended_steps(record: dict[str, str]) -> list[tuple[str, str]]:
    """The steps of a job that succeeded or failed, by its record alone."""
    found = []
    for membrane in record["membranes"].split(","):
        if output := record.get(f"output:{membrane}"):
            found.append((membrane, "failed" if json.loads(output)["error"] is not None else "succeeded"))
        elif record["status"] == "failed":
            found.append((membrane, "failed"))
    if record["status"] == "succeeded" or (record["status"] == "failed" and record["pending"] == "0"):
        found.append((keys.INTEGRATION, record["status"]))
    return found
