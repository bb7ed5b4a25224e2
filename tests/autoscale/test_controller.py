"""The controller: rounds over a farm that is made by hand, with an actuator that does as the test says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from scene import Hands, Scene, Watch, a_controller, rounds, to_demand

from autoscale.controller import Controller
from autoscale.decision import Decision, Memory, Policy, Reason, decide
from autoscale.observation import Observation, Room
from echo_tasks import connections, keys
from echo_tasks.errors import BrokerUnavailable, ControllerAway, ScalingRefused


@pytest.fixture
def hands(scene: Scene) -> Hands:
    return Hands(scene)


@pytest.fixture
def watch() -> Watch:
    return Watch()


def settled(scene: Scene, hands: Hands, watch: Watch, **options: object) -> Controller:
    """A controller that has looked for so long that it decides."""
    controller = a_controller(scene, hands, watch, **options)
    rounds(controller, watch, 6)
    return controller


def test_it_follows_the_demand_both_ways(scene: Scene, hands: Hands, watch: Watch) -> None:
    """As many as the policy says are started, those that come are noticed, and what is too much is drained."""
    scene.worker("a@h")
    jobs = [scene.job() for _ in range(12)]
    controller = settled(scene, hands, watch)
    assert hands.started == [2]
    scene.worker("b@h"), scene.worker("c@h")
    hands.made = 0
    rounds(controller, watch, 3)
    assert hands.started == [2]
    scene.broker.delete(keys.waiting("memory", 1))
    assert jobs
    rounds(controller, watch, 3)
    assert sorted(hands.drained) == ["a@h", "b@h"]
    state = scene.scaling.state()
    assert state is not None
    assert (state.serving, state.draining, state.desired, state.reason) == (1, 2, 1, "steady")


def test_a_busy_one_is_not_the_first_to_go(scene: Scene, hands: Hands, watch: Watch) -> None:
    """Asked by hand: who runs nothing goes, whoever came first."""
    for node in ("a@h", "b@h", "c@h"):
        scene.worker(node)
    scene.running("a@h"), scene.running("c@h")
    controller = settled(scene, hands, watch, policy=Policy(most=4, is_enabled=False))
    scene.scaling.ask_for_more(-1)
    rounds(controller, watch, 2)
    assert hands.drained == ["b@h"]


def test_nothing_is_done_before_it_has_seen_enough(scene: Scene, hands: Hands, watch: Watch) -> None:
    """Workers that live need a heartbeat's time to say so, after a start as after an outage."""
    for _ in range(9):
        scene.job()
    controller = a_controller(scene, hands, watch)
    rounds(controller, watch, 4)
    assert hands.started == []
    assert scene.events() == ["insufficient_data"]
    rounds(controller, watch, 3)
    assert hands.started == [4]
    watch.at += 60  # the broker was away
    hands.made = 0
    rounds(controller, watch, 4)
    assert hands.started == [4]


def test_half_an_observation_holds(scene: Scene, hands: Hands, watch: Watch) -> None:
    """A node that runs steps without a heartbeat, or an actuator that cannot tell: nothing is done, and said once."""
    scene.worker("a@h"), scene.worker("b@h")
    controller = settled(scene, hands, watch, policy=Policy(least=2, most=4))
    scene.broker.delete(keys.worker("b@h"))
    lease = scene.running("b@h")
    rounds(controller, watch, 3)
    assert hands.started == []
    scene.broker.zrem(keys.LEASES, f"{lease.job_id}.{lease.step}")
    hands.is_blind = True
    rounds(controller, watch, 3)
    assert hands.started == []
    hands.is_blind = False
    rounds(controller, watch)
    assert hands.started == [1]
    assert scene.events() == ["insufficient_data", "steady", "insufficient_data", "scale_up"]


def test_a_broker_that_is_away_is_an_error_of_the_round_alone(hands: Hands, watch: Watch, scene: Scene) -> None:
    """The next round goes on."""
    controller = settled(scene, hands, watch)
    with unreachable(controller):
        watch.at += 1
        with pytest.raises(BrokerUnavailable):
            controller.round()
    rounds(controller, watch)
    assert controller.standing.at == watch.at


@contextmanager
def unreachable(controller: Controller) -> Iterator[None]:
    """The controller's observer asks a port that nobody listens on."""
    registry = controller._observer._registry
    there = registry._redis
    registry._redis = connections.impatient("redis://127.0.0.1:1/0")
    try:
        yield
    finally:
        registry._redis = there


def test_a_half_failed_start_is_repeated_reported_and_never_assumed(scene: Scene, hands: Hands, watch: Watch) -> None:
    """One of two was made: the other is asked for again until it is there, and the fault is told meanwhile."""
    scene.worker("a@h")
    for _ in range(12):
        scene.job()
    hands.gives, hands.fault = 1, "no room for the second"
    controller = a_controller(scene, hands, watch)
    rounds(controller, watch, 5)
    assert hands.started == [2]
    assert scene.scaling.state().fault == "no room for the second"  # type: ignore[union-attr]
    hands.gives, hands.fault = None, ""
    rounds(controller, watch, 3)
    assert hands.started == [2, 1]
    assert scene.scaling.state().fault == ""  # type: ignore[union-attr]
    assert scene.events() == ["insufficient_data", "scale_up", "actuator_failed", "steady"]


def test_a_request_by_hand_is_done_once_and_within_the_bounds(scene: Scene, hands: Hands, watch: Watch) -> None:
    """Requests that come before the first is done add up; then the policy decides again."""
    scene.worker("a@h")
    controller = settled(scene, hands, watch, policy=Policy(most=3, is_enabled=False))
    assert (scene.scaling.ask_for_more(1), scene.scaling.ask_for_more(1)) == (2, 3)
    with pytest.raises(ScalingRefused, match="most 3"):
        scene.scaling.ask_for_more(1)
    rounds(controller, watch, 3)
    assert hands.started == [2]
    assert scene.broker.get(keys.SCALING_ASKED) == "3"  # until they serve
    hands.made = 0
    scene.worker("b@h"), scene.worker("c@h")
    rounds(controller, watch, 3)
    assert hands.started == [2]
    assert scene.broker.get(keys.SCALING_ASKED) is None
    assert scene.events() == ["insufficient_data", "disabled", "asked", "disabled"]
    assert scene.scaling.ask_for(1) == 1
    with pytest.raises(ScalingRefused, match="least 1"):
        scene.scaling.ask_for_more(-1)


def test_a_request_is_not_met_by_one_that_never_comes(scene: Scene, hands: Hands, watch: Watch) -> None:
    """What counted as starting when it was asked for is gone: it is asked for again."""
    scene.worker("a@h")
    hands.made = 1
    controller = settled(scene, hands, watch)
    scene.scaling.ask_for(2)
    rounds(controller, watch, 2)
    assert hands.started == []
    hands.made = 0
    rounds(controller, watch, 2)
    assert hands.started == [1]


def test_a_request_outlives_the_leader(scene: Scene, hands: Hands, watch: Watch) -> None:
    """Whoever leads next sees to it."""
    scene.worker("a@h")
    first = settled(scene, hands, watch)
    scene.scaling.ask_for(2)
    first.stop()
    with pytest.raises(ControllerAway):
        scene.scaling.ask_for(3)
    settled(scene, hands, watch)
    assert hands.started == [1]


def test_one_leads_the_other_stands_by_and_takes_over(scene: Scene, hands: Hands, watch: Watch) -> None:
    """Only the leader acts; who took over adopts what is there, and says so."""
    scene.worker("a@h")
    first = settled(scene, hands, watch)
    second = a_controller(scene, hands, watch, name="other")
    for _ in range(9):
        scene.job()
    for _ in range(8):
        watch.at += 1
        assert (first.round(), second.round()) == (True, False)
    assert hands.started == [2]
    assert second.standing.state == first.standing.state
    a_controller(scene, hands, watch, name="third").stop()  # one that does not lead: its end ends nothing
    assert (first.round(), second.round()) == (True, False)
    first.stop()
    rounds(second, watch)
    assert second.standing.leads
    assert first.round() is False
    assert hands.started == [2]


def test_a_leader_that_was_deposed_while_it_looked_does_not_act(scene: Scene, hands: Hands, watch: Watch) -> None:
    """It was stopped for longer than its reign: what it saw is old."""
    scene.worker("a@h")
    controller = settled(scene, hands, watch)
    look = controller._observer.look

    def slow() -> object:
        seen = look()
        scene.broker.set(keys.CONTROLLER, "another one")
        return seen

    for _ in range(9):
        scene.job()
    controller._observer.look = slow  # type: ignore[method-assign, assignment]
    rounds(controller, watch)
    assert hands.started == []
    assert controller.round() is False


def test_every_event_has_its_inputs(scene: Scene, hands: Hands, watch: Watch) -> None:
    """What was seen and what was made of it, in one record; a repeated decision leaves none."""
    scene.worker("a@h")
    scene.running("a@h"), scene.delivered()
    for _ in range(6):
        scene.job()
    controller = settled(scene, hands, watch)
    rounds(controller, watch, 5)
    events = [one.event for one in scene.scaling.events(10)]
    assert [event.reason for event in events] == ["steady", "scale_up", "insufficient_data"]
    told = events[1].model_dump(exclude={"at", "controller", "oldest_s", "utilisation"})
    assert told == {
        "reason": "scale_up", "current": 1, "desired": 2, "victims": [], "serving": 1, "starting": 0, "draining": 0,
        "slots": 4, "busy": 1, "delivered": 1, "ready": 6, "arrived": 8, "floor": 0,
        "error": "", "most": 0, "bound": "",
    }  # fmt: skip
    assert events[1].oldest_s > 0


def test_waiting_for_the_next_interval_is_no_news(scene: Scene, hands: Hands, watch: Watch) -> None:
    """The reason that stands is the last one that says something of the farm."""
    scene.worker("a@h")

    def every_third(
        policy: Policy, memory: Memory, seen: Observation, floor: int = 0, asked: int | None = None
    ) -> tuple[Decision, Memory]:
        decision, memory = to_demand(policy, memory, seen, floor, asked)
        is_due = watch.at % 3 == 0 or seen.starting is None
        return (decision if is_due else replace(decision, desired=decision.current, reason=Reason.BETWEEN)), memory

    controller = settled(scene, hands, watch, decides=every_third)
    rounds(controller, watch, 10)
    assert scene.events() == ["insufficient_data", "steady"]
    assert scene.scaling.state().reason == "steady"  # type: ignore[union-attr]


def test_the_stream_of_events_is_bounded(scene: Scene) -> None:
    """The latest ones stay; they are read in pages, the latest first."""
    assert scene.scaling.events(10) == []
    scene.worker("a@h")
    hands, watch = Hands(scene), Watch()
    settled(scene, hands, watch)
    event = scene.scaling.events(1)[0].event
    for number in range(2100):
        scene.scaling.record(event.model_copy(update={"desired": number}))
    assert 2000 <= scene.broker.xlen(keys.SCALING_EVENTS) < 2103
    first = scene.scaling.events(2)
    assert [one.event.desired for one in first] == [2099, 2098]
    assert [one.event.desired for one in scene.scaling.events(1, before=first[-1].event_id)] == [2097]


def test_what_bounds_the_farm_is_told_in_numbers(scene: Scene, hands: Hands, watch: Watch) -> None:
    """By event and state; who asks for more by hand is told why not."""
    scene.worker("a@h")
    for _ in range(9):
        scene.job()
    hands.carries = Room(2, "2 of 2 cores")
    rounds(settled(scene, hands, watch, decides=decide), watch, 3)
    event, state = scene.scaling.events(1)[0].event, scene.scaling.state()
    assert state is not None
    assert (event.most, event.bound) == (2, "host full: 2 of 2 cores")
    assert (state.most, state.bound) == (2, "host full: 2 of 2 cores")
    assert hands.started == [1]
    with pytest.raises(ScalingRefused, match=r"at most 2 workers \(host full: 2 of 2 cores\)"):
        scene.scaling.ask_for(3)


def test_a_request_that_came_meanwhile_is_not_settled_with_the_one_before(scene: Scene) -> None:
    scene.broker.set(keys.SCALING_ASKED, 3)
    scene.scaling.settle(2)
    assert scene.broker.get(keys.SCALING_ASKED) == "3"
    scene.scaling.settle(3)
    assert scene.broker.get(keys.SCALING_ASKED) is None
