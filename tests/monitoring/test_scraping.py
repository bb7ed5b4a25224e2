"""What is read when Prometheus asks, over a real broker: each figure is what a direct look finds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
import redis
from heard import samples
from processes import free_port
from records import a_server, a_worker

from echo_tasks import connections, exposition, holding, keys
from echo_tasks.dispatch import Dispatcher
from echo_tasks.leases import Claim
from echo_tasks.ledger import Ledger
from echo_tasks.messages import JobSpec, StepOutput
from echo_tasks.publishing import Publisher
from echo_tasks.registry import Registry
from echo_tasks.sessions import SessionBounds, Sessions
from monitoring.exporter import discovery, health
from monitoring.exporter.jobs import Jobs
from monitoring.exporter.queues import Queues
from monitoring.exporter.scrape import Scrape
from monitoring.exporter.servers import Servers


class Seen:
    """A database of the test's own, and what an exporter reads of it."""

    def __init__(self, url: str, store_url: str) -> None:
        self.url = url
        self.broker = connections.impatient(url)
        self.ledger = Ledger(self.broker, retention_s=600, session_s=600, bounds=SessionBounds(live=10_000))
        self.publisher = Publisher(url)
        self.registry = Registry(self.broker)
        self.others: list[str] = []
        self.queues = Queues(self.broker, lambda: self.others)
        servers = Servers({"broker": self.broker, "store": connections.impatient(store_url)})
        self.scrape = Scrape(servers, self.registry, self.queues, Jobs(self.broker))

    def published(self, number: int, **fields: object) -> JobSpec:
        """A job whose messages wait."""
        known = {"job_id": f"j{number}", "session_id": f"s{number}", "input_text": "Hello.", "membranes": ["memory"]}
        spec = JobSpec.model_validate(known | fields)
        self.ledger.create(spec)
        Dispatcher(self.ledger, self.publisher, None).advance(spec.session_id)
        return spec

    def values(self, name: str) -> dict[str, float]:
        """The values of a metric by those of its labels, joined."""
        return {" ".join(labels.values()): value for labels, value in samples([self.scrape], name)}


@pytest.fixture
def seen(broker_url: str) -> Iterator[Seen]:
    seen = Seen(broker_url.removesuffix("/0") + "/9", broker_url.removesuffix("/0") + "/10")
    seen.broker.flushdb()
    yield seen
    seen.broker.close()


def looked_at(broker: redis.Redis, step: str) -> tuple[int, float | None]:
    """Messages of a step in the broker's lists, and the age of the oldest, one by one."""
    messages = [
        (json.loads(text)["headers"]["id"], priority)
        for priority in range(1, keys.HIGHEST + 1)
        for text in broker.lrange(keys.waiting(step, priority), 0, -1)
    ]
    published = [broker.zscore(keys.lane(step, priority), name) for name, priority in messages]
    oldest = min((at for at in published if at is not None), default=None)
    seconds, micros = broker.time()
    return len(messages), None if oldest is None else seconds + micros / 1e6 - oldest


def test_queues_are_as_a_direct_look_finds_them(seen: Seen) -> None:
    """Over all priorities: how many messages, and how old the oldest is, which need not be the first to be served."""
    for number, priority in enumerate([1, 10, 5, 1, 7, 10]):
        seen.published(number, priority=priority, membranes=["memory", "grammar"] if number % 2 else ["memory"])
        time.sleep(0.02)
    for step in ("memory", "grammar", "reasoning"):
        length, age_s = looked_at(seen.broker, step)
        assert seen.values("celery_queue_length")[keys.queue(step)] == length
        told = seen.values("echo_queue_oldest_message_age_seconds")[keys.queue(step)]
        assert told == pytest.approx(age_s or 0.0, abs=0.5)
        assert (told > 0) == (length > 0)
    assert seen.values("celery_queue_length") == {
        "echo.memory": 6,
        "echo.grammar": 3,
        "echo.reasoning": 0,
        "echo.integration": 0,
        "echo.direct": 0,
    }
    lane = keys.lane("memory", 7)
    seen.broker.zadd(lane, {"j4.memory": seen.broker.zscore(lane, "j4.memory") - 1000})
    assert seen.values("echo_queue_oldest_message_age_seconds")["echo.memory"] > 1000


def test_workers_own_queues_are_summed(seen: Seen) -> None:
    """Of all workers that were ever sent steps, those that are gone included."""
    for node in ("a@h", "b@h"):
        seen.broker.zadd(keys.DIRECTS, {node: 1})
        seen.broker.zadd(keys.direct_lane(node), {"j.memory": time.time() - 50})
        seen.broker.lpush(keys.lists(keys.direct(node))[3], "message")
    assert seen.values("celery_queue_length")["echo.direct"] == 2
    assert 40 < seen.values("echo_queue_oldest_message_age_seconds")["echo.direct"] < 60


def test_queues_of_others_have_a_length(seen: Seen) -> None:
    """Nobody notes how old their messages are."""
    seen.others.append("mail")
    seen.broker.lpush("mail", "message")
    seen.broker.lpush("mail\x06\x166", "message")
    assert seen.values("celery_queue_length")["mail"] == 2
    assert "mail" not in seen.values("echo_queue_oldest_message_age_seconds")


def test_messages_in_flight_are_counted_by_queue(seen: Seen) -> None:
    """As kombu keeps them; what it has not written there is passed over."""
    for number, queue in enumerate(["echo.memory", "echo.memory", "echo.direct.a@h", "mail"]):
        seen.broker.hset(holding.HELD, str(number), json.dumps([{}, "", queue]))
    seen.broker.hset(holding.HELD, "5", "not JSON")
    seen.broker.hset(holding.HELD, "6", "[1, 2]")
    told = seen.values("echo_queue_in_flight")
    assert (told["echo.memory"], told["echo.direct"], told["echo.grammar"]) == (2, 1, 0)


def test_live_workers_are_told_of_and_gone_ones_are_not(seen: Seen) -> None:
    """Under their own names and the document's; one that drains takes from no queue."""
    seen.registry.announce(a_server("a@h", slots=8, busy=3))
    seen.registry.announce(a_server("b@h", slots=4, draining=True))
    seen.registry.announce(a_worker("c@h", slots=2, stalled_s=100, queues=["echo.memory"]))
    assert seen.values("load_balancer_total_instances") == {"": 3}
    assert seen.values("load_balancer_healthy_instances") == {"": 1}
    assert seen.values("echo_worker_slots") == {"a@h": 8, "b@h": 4, "c@h": 2}
    assert seen.values("echo_worker_busy_slots")["a@h"] == 3
    assert seen.values("echo_worker_draining") == {"a@h": 0, "b@h": 1, "c@h": 0}
    assert seen.values("celery_active_worker_count")["echo.memory"] == 2
    assert seen.values("celery_active_consumer_count")["echo.grammar"] == 1
    assert seen.values("celery_active_process_count")["echo.memory"] == 10
    assert seen.values("celery_active_process_count")["echo.direct"] == 8
    seen.registry.withdraw("a@h")
    assert "a@h" not in seen.values("echo_worker_slots")


def test_a_worker_that_vanishes_while_it_is_read_does_no_harm(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its record runs out after the workers were listed; the rest of the scrape is there."""
    for node in ("a@h", "b@h"):
        seen.registry.announce(a_server(node))
    listed = seen.broker.smembers

    def then_gone(*names: str) -> set[str]:
        found: set[str] = listed(*names)
        seen.broker.delete(keys.worker("a@h"))
        return found

    monkeypatch.setattr(seen.broker, "smembers", then_gone)
    assert seen.values("echo_worker_slots") == {"b@h": 8}
    assert seen.values("echo_jobs_open") == {"": 0}


def test_jobs_are_what_the_ledger_counts(seen: Seen) -> None:
    """Counters and gauges, of jobs, steps and sessions."""
    first, second, _ = (seen.published(number, membranes=["memory", "grammar"]) for number in range(3))
    claim = seen.ledger.steps.claim(first.job_id, "memory")
    assert isinstance(claim, Claim)
    seen.ledger.steps.record(claim.lease, StepOutput(error="no"))
    seen.ledger.cancel(second.job_id)
    Sessions(seen.broker, retention_s=600, session_s=600).open("named")
    assert seen.values("echo_jobs_accepted_total") == {"": 3}
    assert seen.values("echo_jobs_ended_total") == {"succeeded": 0, "failed": 0, "cancelled": 1}
    assert seen.values("echo_jobs_open") == {"": 2}
    assert seen.values("echo_membrane_jobs_open") == {"memory": 1, "reasoning": 0, "grammar": 2}
    ended = {step: ended for step, ended in seen.values("echo_steps_ended_total").items() if ended}
    assert ended == {"memory failed": 1, "memory cancelled": 1, "grammar cancelled": 1}
    assert len(seen.values("echo_steps_ended_total")) == 12
    assert set(seen.values("echo_steps_redelivered_total")) == set(seen.values("echo_steps_retried_total"))
    assert seen.values("echo_dead_letters") == seen.values("echo_dead_letters_total") == {"": 0}
    for name in ("deep_echo_active_sessions", "cognitive_service_active_sessions"):
        assert seen.values(name) == {"": 4}  # each job has one of its own


def test_servers_tell_of_themselves(seen: Seen) -> None:
    """Broker and store, each up, with memory and connections."""
    assert seen.values("echo_server_up") == {"broker": 1, "store": 1}
    for name in ("memory_bytes", "clients", "clients_limit"):
        assert all(value > 0 for value in seen.values(f"echo_server_{name}").values()), name
    assert set(seen.values("echo_server_evicted_keys_total")) == {"broker", "store"}
    before = seen.broker.config_get("maxmemory")["maxmemory"]
    try:
        for limit in (2**30, 0):
            seen.broker.config_set("maxmemory", limit)
            assert seen.values("echo_server_memory_limit_bytes") == {"broker": limit, "store": limit}, "one server"
    finally:
        seen.broker.config_set("maxmemory", before)


def test_a_broker_that_is_away_is_told_of() -> None:
    """The scrape answers what there is to know; health says why it is not well; Prometheus keeps its targets."""
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    away = Seen(nowhere, nowhere)
    assert away.values("echo_server_up") == {"broker": 0, "store": 0}
    assert away.values("echo_jobs_open") == {}
    status, _, body = health.answer(away.scrape.fault(), is_heard=False)
    assert (status, json.loads(body)["status"]) == (503, "unhealthy")
    assert json.loads(body)["detail"] == "the broker does not answer: unreachable; Celery's events are not heard"
    assert discovery.answer(away.registry.live)[0] == 503


def test_a_store_that_is_away_is_no_fault_of_the_exporters(seen: Seen) -> None:
    """All that the broker knows is there."""
    half = Seen(seen.url, f"redis://127.0.0.1:{free_port()}/0")
    assert half.values("echo_server_up") == {"broker": 1, "store": 0}
    assert half.values("echo_jobs_open") == {"": 0}
    assert health.answer(half.scrape.fault(), is_heard=True)[0] == 200
    half.broker.close()


def test_the_whole_is_text_that_prometheus_reads(seen: Seen) -> None:
    """A gauge and a counter of nearly one name are two metrics."""
    text = exposition.text(seen.scrape).decode()
    assert "# TYPE echo_dead_letters gauge\n" in text
    assert "# TYPE echo_dead_letters_total counter\n" in text
    assert "# TYPE echo_steps_ended_total counter\n" in text
    assert 'echo_steps_ended_total{outcome="failed",step="memory"} 0.0\n' in text


def test_the_workers_endpoints_are_targets(seen: Seen) -> None:
    """With node and host; those that have none, or no address that Prometheus takes, are left out."""
    seen.registry.announce(a_server("a@h", host="h", metrics_address="10.0.0.1:4444"))
    seen.registry.announce(a_server("b@h", host="h", metrics_address="[::1]:5"))
    seen.registry.announce(a_server("c@h"))
    seen.registry.announce(a_server("d@h", metrics_address="http://x/y"))
    status, kind, body = discovery.answer(seen.registry.live)
    assert (status, kind) == (200, "application/json")
    assert json.loads(body) == [
        {"targets": ["10.0.0.1:4444"], "labels": {"job": "echo-worker", "node": "a@h", "host": "h"}},
        {"targets": ["[::1]:5"], "labels": {"job": "echo-worker", "node": "b@h", "host": "h"}},
    ]
    for record in seen.registry.live():
        seen.registry.withdraw(record.node)
    assert discovery.answer(seen.registry.live)[2] == b"[]"


def test_health_is_that_of_a_scrape_and_of_the_stream(seen: Seen) -> None:
    """Well when both are; an exporter that does not hear tells of an old farm."""
    assert health.answer(seen.scrape.fault(), is_heard=True) == (
        200,
        "application/json",
        b'{"status": "healthy", "detail": ""}',
    )
    assert health.answer(seen.scrape.fault(), is_heard=False)[0] == 503
