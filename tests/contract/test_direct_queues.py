"""Workers' own queues: what waits for one that is gone, drains or is full is everybody's again, and nothing is lost."""

from __future__ import annotations

import json

import pytest
import redis
from records import a_server
from yard import LONG_AGO, Yard

from echo_tasks import keys
from echo_tasks.dispatch import Dispatcher
from echo_tasks.leases import Claim
from echo_tasks.messages import JobSpec, StepOutput
from echo_tasks.publishing import Publisher
from echo_tasks.registry import Registry
from echo_tasks.router import Router

NODE = "w@test"


@pytest.fixture
def routed(yard: Yard, broker_url: str) -> Yard:
    """A yard whose jobs go to the least busy of its workers, of which there is one."""
    publisher = Publisher(
        broker_url.removesuffix("/0") + "/4", router=Router(yard.broker, "least_connections", clock=lambda: 0.0)
    )
    yard.dispatcher = Dispatcher(yard.ledger, publisher, None)
    Registry(yard.broker).announce(a_server(NODE))
    return yard


def messages(broker: redis.Redis, node: str = NODE) -> list[str]:
    """The steps whose messages wait for a worker, the first to be served first."""
    found = [message for name in keys.lists(keys.direct(node)) for message in reversed(broker.lrange(name, 0, -1))]
    return [json.loads(message)["headers"]["id"] for message in found]


def lane(broker: redis.Redis, node: str = NODE) -> list[str]:
    members: list[str] = broker.zrange(keys.direct_lane(node), 0, -1)
    return members


def gone(yard: Yard, node: str = NODE) -> None:
    """As when a worker has died and its record has expired."""
    yard.broker.delete(keys.worker(node))


def faults(yard: Yard, spec: JobSpec, step: str = "memory") -> tuple[str | None, str | None]:
    """Deaths and losses that are held against a step."""
    deaths, losses = yard.broker.hmget(keys.job(spec.job_id), f"deaths:{step}", f"losses:{step}")
    return deaths, losses


def test_steps_go_to_the_worker_by_their_priority(routed: Yard) -> None:
    """Its queue has ten lists as every other; the shared ones have nothing, and no exchange knows of it."""
    slow, urgent = (routed.published(priority=priority) for priority in (1, 10))
    assert messages(routed.broker) == [f"{urgent.job_id}.memory", f"{slow.job_id}.memory"]
    assert sorted(lane(routed.broker)) == sorted(messages(routed.broker))
    assert routed.take() == []
    assert routed.broker.keys("_kombu.binding*") == []


def test_a_claim_takes_it_off_its_lane(routed: Yard) -> None:
    """As it does from a shared one; nothing else is left of it when the job has ended."""
    spec = routed.published(membranes=["memory", "grammar"])
    lease = routed.held(spec.job_id)
    assert lane(routed.broker) == [f"{spec.job_id}.grammar"]
    routed.ledger.steps.record(lease, StepOutput(text="m"))
    routed.ledger.cancel(spec.job_id)
    assert lane(routed.broker) == []
    assert routed.broker.hlen(keys.CLAIMED) == 0


@pytest.mark.parametrize("how", ["dead", "draining"])
def test_what_waits_for_a_worker_that_is_gone_is_for_all(routed: Yard, how: str) -> None:
    """In the reaper's next round, at its own priority, behind the others of it; no death, no loss."""
    ahead = routed.accepted(priority=3)
    spec = routed.published(priority=3)
    routed.ledger.release(ahead.session_id)
    routed.publisher.publish(ahead.job_id, ["memory"], 3)
    gone(routed) if how == "dead" else Registry(routed.broker).drain(NODE)
    routed.reaper.round()
    assert (messages(routed.broker), lane(routed.broker)) == ([], [])
    assert routed.broker.zscore(keys.lane("memory", 3), f"{spec.job_id}.memory")
    assert routed.broker.llen(keys.waiting("memory", 3)) == 2
    assert routed.take() == [ahead.job_id, spec.job_id]
    assert faults(routed, spec) == (None, None)
    assert routed.held(spec.job_id).token == 1


def test_what_waits_too_long_for_a_full_worker_is_for_all(routed: Yard) -> None:
    """After two seconds, not before; the others stay, and what the worker has taken and not begun counts as waiting."""
    early, taken, late = (routed.published() for _ in range(3))
    took(routed, taken)
    routed.reap()
    assert len(lane(routed.broker)) == 3
    for spec in (early, taken):
        routed.broker.zadd(keys.direct_lane(NODE), {f"{spec.job_id}.memory": LONG_AGO})
    routed.reap()
    assert sorted(routed.take()) == sorted([early.job_id, taken.job_id])
    assert messages(routed.broker) == lane(routed.broker) == [f"{late.job_id}.memory"]


def took(yard: Yard, spec: JobSpec) -> None:
    """The worker takes a job's message off its queue, and does not begin the step."""
    name = keys.lists(keys.direct(NODE))[9]
    (message,) = (one for one in yard.broker.lrange(name, 0, -1) if spec.job_id in json.loads(one)["headers"]["id"])
    yard.broker.lrem(name, 0, message)


def test_one_that_was_taken_back_overtakes_nobody(routed: Yard) -> None:
    """A worker that had its message already begins it after all: those ahead of it in the shared line are not lost."""
    routed_one = routed.published()
    waiting = routed.accepted()
    routed.ledger.release(waiting.session_id)
    routed.publisher.publish(waiting.job_id, ["memory"], 1)
    routed.broker.zadd(keys.lane("memory", 1), {f"{waiting.job_id}.memory": LONG_AGO})
    gone(routed)
    routed.reaper.round()
    routed.held(routed_one.job_id)
    routed.reap()
    assert routed.take() == [waiting.job_id, routed_one.job_id]
    assert faults(routed, waiting) == (None, None)


def test_a_dead_workers_lease_is_for_all_too(routed: Yard) -> None:
    """What it had begun runs elsewhere; its message, which comes back to its own queue, goes."""
    spec = routed.published()
    routed.held(spec.job_id, node=NODE)
    routed.broker.zadd(keys.LEASES, {f"{spec.job_id}.memory": LONG_AGO})
    gone(routed)
    routed.reap()
    assert messages(routed.broker) == []
    assert routed.take() == [spec.job_id]
    assert faults(routed, spec)[0] == "1"
    assert routed.held(spec.job_id).token == 2


def test_a_message_lost_on_its_way_to_a_worker_is_made_good(routed: Yard) -> None:
    """Its publisher died first, or the worker did as it took it: after two seconds it is for all."""
    spec = routed.published()
    routed.broker.delete(*keys.lists(keys.direct(NODE)))
    routed.wait()
    routed.reap()
    assert routed.take() == [spec.job_id]
    assert faults(routed, spec) == (None, None)


def test_a_step_that_nobody_takes_is_still_given_up(routed: Yard) -> None:
    """It is sent to a worker once, and is a case like any other from then on."""
    spec = routed.published()
    for _ in range(12):
        routed.broker.delete(*keys.lists(keys.direct(NODE)))
        routed.take()
        routed.wait()
        routed.reap()
    assert routed.letters.read(spec.job_id).deliveries == 0


def test_handed_back_it_waits_for_the_worker_or_for_all(routed: Yard) -> None:
    """Where its message goes: to the worker's queue; if it was taken off that, the reaper has it published."""
    spec, back = routed.published(), routed.published()
    routed.ledger.steps.hand_back(routed.held(spec.job_id))
    assert f"{spec.job_id}.memory" in lane(routed.broker)
    routed.broker.zadd(keys.direct_lane(NODE), {f"{back.job_id}.memory": LONG_AGO})
    routed.reap()
    assert routed.take() == [back.job_id]
    routed.ledger.steps.hand_back(routed.held(back.job_id))
    routed.reap()
    assert routed.take() == [back.job_id]
    assert faults(routed, back) == ("0", "0")


def test_a_queue_of_long_ago_is_forgotten(routed: Yard) -> None:
    """But not while a step waits there."""
    spec = routed.published()
    routed.broker.zadd(keys.DIRECTS, {NODE: LONG_AGO})
    routed.reap()
    assert routed.broker.zcard(keys.DIRECTS) == 1
    routed.held(spec.job_id)
    routed.broker.delete(*keys.lists(keys.direct(NODE)))
    routed.reap()
    assert routed.broker.zcard(keys.DIRECTS) == 0


def test_without_room_it_goes_to_all(routed: Yard) -> None:
    """What was just sent counts: of ten jobs eight go to the worker of eight slots, and the rest are shared."""
    jobs = [routed.published().job_id for _ in range(10)]
    assert len(lane(routed.broker)) == 8
    assert routed.take() == jobs[8:]


def test_what_was_sent_counts_until_it_is_known_or_done(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record of later covers it; so does the time that steps take there."""
    monkeypatch.setattr("echo_tasks.router.GOOD_FOR_S", 0.0)
    now = 1000.0
    router, registry = Router(yard.broker, "least_connections", clock=lambda: now), Registry(yard.broker)

    def routed() -> int:
        spec = yard.accepted()
        yard.ledger.release(spec.session_id)
        return len(router.route(spec.job_id, ["memory"], spec.session_id))

    registry.announce(a_server(NODE, slots=2))
    assert [routed() for _ in range(3)] == [1, 1, 0]
    now += 1000
    registry.announce(a_server(NODE, slots=2, busy=1))
    assert [routed() for _ in range(2)] == [1, 0]
    now += 1000
    registry.announce(a_server(NODE, slots=2, mean_service_s=0.5))
    assert [routed() for _ in range(3)] == [1, 1, 0]
    now += 0.6
    assert routed() == 1


def test_a_step_that_is_not_in_a_lane_is_for_all(yard: Yard) -> None:
    """One that was claimed meanwhile, or never let go, is not sent to a worker."""
    Registry(yard.broker).announce(a_server(NODE))
    router = Router(yard.broker, "round_robin")
    held, early = yard.published(), yard.accepted()
    yard.held(held.job_id)
    assert router.route(held.job_id, ["memory"], held.session_id) == {}
    assert router.route(early.job_id, ["memory"], early.session_id) == {}
    assert isinstance(yard.ledger.steps.claim(yard.published().job_id, "memory"), Claim)


def test_the_shared_strategy_asks_the_broker_nothing(yard: Yard) -> None:
    """A job costs as many calls as without any strategy."""
    yard.published()
    before = yard.broker.info("commandstats")["cmdstat_evalsha"]["calls"]
    yard.published()
    assert yard.broker.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 2  # create, release
    assert not yard.broker.exists(keys.DIRECTS)
