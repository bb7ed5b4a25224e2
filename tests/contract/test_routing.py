"""Which worker a step is sent to: laws of the choice, whatever the workers are."""

from __future__ import annotations

import math
from collections import Counter
from operator import attrgetter
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import a_server, a_worker

from echo_tasks import keys
from echo_tasks.routing import LEAST_WEIGHT, MOST_OF_MEAN, SHARED, STRATEGIES, Asked, Candidate, choose, weights
from echo_tasks.settings import Settings

names = st.sampled_from(sorted(STRATEGIES))
sessions = st.text("abcdef0123456789", min_size=1, max_size=8)


@st.composite
def farms(draw: st.DrawFn) -> list[Candidate]:
    """Workers of every kind: full, draining, narrowed to a queue, and those that can be chosen."""
    found = []
    for number in range(draw(st.integers(0, 6))):
        told: dict[str, Any] = {
            "slots": draw(st.integers(0, 16)),
            "busy": draw(st.integers(0, 16)),
            "waiting": draw(st.integers(0, 3)),
            "draining": draw(st.booleans()),
            "cpu": draw(st.floats(0, 8)),
            "memory_bytes": draw(st.integers(0, 2**34)),
            "mean_service_s": draw(st.floats(0, 60)),
        }
        node = f"w{number}@test"
        if draw(st.integers(0, 4)) == 0:
            told["queues"] = [keys.queue("grammar"), keys.direct(node)]
        found.append(Candidate(a_server(node, **told), draw(st.integers(0, 3)), draw(st.floats(0, 30))))
    return found


asked = st.builds(Asked, session_id=sessions, steps=st.integers(1, 3), turn=st.integers(0, 99), chance=st.floats(0, 1))


@given(names, farms(), asked)
def test_a_step_goes_to_who_can_take_it_or_to_all(strategy: str, farm: list[Candidate], asked: Asked) -> None:
    """Never to one that drains, is full, or does not serve it; the same twice, whatever their order."""
    node = choose(strategy, farm, "memory", asked)
    able = [one for one in farm if _can_take(one)]
    assert node is None or node in {one.worker.node for one in able}
    assert node is not None or not able or strategy == "affinity"
    if strategy != "weighted":
        assert choose(strategy, farm[::-1], "memory", asked) == node


def _can_take(one: Candidate) -> bool:
    worker = one.worker
    has_room = worker.slots - worker.busy - worker.waiting - one.sent > 0
    return has_room and not worker.draining and keys.queue("memory") in worker.queues


@given(farms(), asked)
def test_shared_is_nobodys(farm: list[Candidate], asked: Asked) -> None:
    """Whoever there is, the workers pull."""
    assert choose(SHARED, farm, "memory", asked) is None


def test_every_strategy_has_its_setting() -> None:
    """And no setting is without its strategy."""
    assert {*get_args(Settings.model_fields["lb_strategy"].annotation)} == {SHARED, *STRATEGIES}


def test_a_worker_without_a_queue_of_its_own_is_not_sent_anything() -> None:
    """One of an older version: nobody would take the message."""
    old = a_worker("old@test", queues=[keys.queue("memory")], slots=8)
    assert all(choose(name, [Candidate(old)], "memory", Asked()) is None for name in STRATEGIES)


@given(st.integers(1, 6), st.integers(0, 1000))
def test_turns_go_round(count: int, first: int) -> None:
    """As many turns as there are workers reach each of them once."""
    farm = [Candidate(a_server(f"w{number}@test")) for number in range(count)]
    reached = {choose("round_robin", farm, "memory", Asked(turn=first + turn)) for turn in range(count)}
    assert len(reached) == count


@given(farms(), asked)
def test_the_least_busy_is_chosen(farm: list[Candidate], asked: Asked) -> None:
    """What was just sent there counts."""
    node = choose("least_connections", farm, "memory", asked)
    able = [one for one in farm if _can_take(one)]
    if able:
        chosen = next(one for one in able if one.worker.node == node)
        assert chosen.connections == min(one.connections for one in able)


def test_weights_follow_cpu_memory_and_response_time() -> None:
    """A worker that is worse in one of them has less, in proportion; a bad one is not left out."""
    good = {"cpu": 1.0, "memory_bytes": 10**9, "mean_service_s": 1.0}
    worse = [{"cpu": 2.0}, {"memory_bytes": 2 * 10**9}, {"mean_service_s": 2.0}]
    farm = [a_server(f"w{number}@test", **good | told) for number, told in enumerate([{}, *worse])]
    assert weights(farm) == pytest.approx([1.0, 0.8, 0.85, 0.85])
    bad = a_server("bad@test", cpu=64.0, memory_bytes=10**12, mean_service_s=600.0)
    assert weights([farm[0], bad])[1] == LEAST_WEIGHT


def test_weights_are_the_shares_of_what_is_sent() -> None:
    """Over all random numbers a worker gets what its weight is of the sum."""
    farm = [Candidate(a_server("a@test", mean_service_s=1.0)), Candidate(a_server("b@test", mean_service_s=3.0))]
    sent = Counter(choose("weighted", farm, "memory", Asked(chance=number / 1000)) for number in range(1000))
    assert sent["a@test"] / 1000 == pytest.approx(1 / 1.8, abs=0.002)


@given(farms(), sessions, st.integers(1, 3))
def test_affinity_keeps_the_bound(farm: list[Candidate], session: str, steps: int) -> None:
    """Nobody is sent more than 1.25 times the mean load, now or of late, but who has least; all its steps fit."""
    node = choose("affinity", farm, "memory", Asked(session, steps))
    serving = [one for one in farm if not one.worker.draining and keys.queue("memory") in one.worker.queues]
    if node is None:
        return
    chosen = next(one for one in farm if one.worker.node == node)
    fair = []
    for load in (attrgetter("load"), attrgetter("lately")):
        mean = (sum(map(load, serving)) + steps) / len(serving)
        is_least = load(chosen) == min(map(load, serving))
        fair.append(is_least or load(chosen) + steps <= math.ceil(MOST_OF_MEAN * mean))
    assert any(fair)
    assert chosen.room >= min(steps, chosen.worker.slots)


@given(st.integers(2, 8), st.lists(sessions, min_size=1, max_size=20, unique=True))
def test_a_session_moves_only_when_its_worker_goes(count: int, ids: list[str]) -> None:
    """Rendezvous: without any other worker every session stays where it is, and it returns with its own."""
    farm = [Candidate(a_server(f"w{number}@test")) for number in range(count)]
    for session in ids:
        home = choose("affinity", farm, "memory", Asked(session))
        for other in farm:
            left = [one for one in farm if one is not other]
            moved = choose("affinity", left, "memory", Asked(session))
            assert (moved == home) == (other.worker.node != home)


def test_sessions_are_spread_evenly() -> None:
    """Of ten thousand, each of eight workers is the first choice of an eighth."""
    farm = [Candidate(a_server(f"w{number}@test")) for number in range(8)]
    homes = Counter(choose("affinity", farm, "memory", Asked(f"s{number}")) for number in range(10_000))
    assert all(abs(count - 1250) < 150 for count in homes.values())


def test_a_session_goes_to_its_next_choice_where_the_first_has_its_share() -> None:
    """Not for a chance crowd, which passes: only if it was sent more than its share of late, too."""
    nodes = ("a@test", "b@test", "c@test")
    home = choose("affinity", [Candidate(a_server(node)) for node in nodes], "memory", Asked("s"))
    second = choose("affinity", [Candidate(a_server(node)) for node in nodes if node != home], "memory", Asked("s"))

    def where(busy: int, lately: float) -> str | None:
        farm = [
            Candidate(a_server(node, busy=busy if node == home else 2), 0, lately if node == home else 20.0)
            for node in nodes
        ]
        return choose("affinity", farm, "memory", Asked("s"))

    assert where(busy=6, lately=40.0) == second
    assert where(busy=6, lately=20.0) == where(busy=2, lately=40.0) == home


def test_a_jobs_last_step_goes_where_the_others_were_run() -> None:
    """By affinity: there the session's next turn will find its state. Not where there is no room."""
    farm = [Candidate(a_server("a@test", busy=7)), Candidate(a_server("b@test")), Candidate(a_server("c@test", busy=8))]
    assert choose("affinity", farm, keys.INTEGRATION, Asked("s", here="a@test")) == "a@test"
    assert choose("affinity", farm, keys.INTEGRATION, Asked("s", here="c@test")) in {"a@test", "b@test"}
    assert choose("least_connections", farm, keys.INTEGRATION, Asked("s", here="a@test")) == "b@test"
