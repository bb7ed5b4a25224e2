"""Whether growth pays: what is taken back, what stays, and for how long a ceiling holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest

from autoscale.bounds import Bound
from autoscale.decision import Decision, Memory, Policy, decide
from autoscale.gains import HOLDS_S, Gains
from autoscale.observation import Instance, Observation, Room
from autoscale.reason import Reason

SLOTS = 8
POLICY = Policy()
STEP_S = 2.0
ALONE = 500.0
"""Tokens a second of one worker that has its machine for itself."""

Together = Callable[[int], float]
"""What so many workers do a second, as multiples of one."""


@dataclass
class Farm:
    """A farm as the controller sees it, whose workers do as `together` says, and which does as it is told at once."""

    together: Together
    demand: int
    serving: int = 1
    tokens_a_step: int = 40
    machine: str = "m"
    model: str = "x"
    room: Room | None = None
    at: float = 0.0
    memory: Memory = field(default_factory=Memory)
    decisions: list[Decision] = field(default_factory=list)
    _tokens: dict[str, float] = field(default_factory=dict)
    _steps: float = 0.0
    _born: int = 1

    def __post_init__(self) -> None:
        self._nodes = [f"w{number}" for number in range(self.serving)]

    def run(self, seconds: float, **changes: object) -> set[Reason]:
        """Let time pass under another demand, or as another farm; the reasons of what was decided."""
        for name, value in changes.items():
            setattr(self, name, value)
        before = len(self.decisions)
        for _ in range(int(seconds / STEP_S)):
            self._pass()
        return {decision.reason for decision in self.decisions[before:]}

    def _pass(self) -> None:
        self.at += STEP_S
        size = len(self._nodes)
        share = min(1.0, self.demand / (SLOTS * size))
        done = ALONE * self.together(size) * share * STEP_S
        for node in self._nodes:
            self._tokens[node] = self._tokens.get(node, 0.0) + done / size
        self._steps += done / self.tokens_a_step
        decision, self.memory = decide(POLICY, self.memory, self._seen())
        self.decisions.append(decision)
        self._nodes = [node for node in self._nodes if node not in decision.victims]
        for _ in range(decision.desired - len(self._nodes)):
            self._nodes.append(f"n{self._born}")
            self._born += 1
        self.serving = len(self._nodes)

    def _seen(self) -> Observation:
        busy = min(self.demand, SLOTS * len(self._nodes))
        each, left = divmod(busy, len(self._nodes))
        instances = [
            Instance(
                node,
                SLOTS,
                each + (number < left),
                float(number),
                tokens=int(self._tokens.get(node, 0)),
                machine=self.machine,
                model=self.model,
            )
            for number, node in enumerate(self._nodes)
        ]
        waiting = self.demand - busy
        return Observation(self.at, instances, 0, waiting, 0, 0.0, 0, steps=int(self._steps), room=self.room)


def shared(cores: float) -> Together:
    """Workers of one thread each on so many cores: no more than these together, and each one beyond costs a little."""
    return lambda size: min(size, cores) - 0.03 * max(0.0, size - cores)


def sizes(farm: Farm) -> Sequence[int]:
    return [decision.desired for decision in farm.decisions]


def test_workers_of_their_own_machines_pay() -> None:
    """As many as the demand needs, and none is taken back."""
    farm = Farm(lambda size: size, demand=60)
    assert Reason.NO_GAIN not in farm.run(900)
    assert farm.serving == POLICY.most


@pytest.mark.parametrize("demand", [30, 60, 400])
def test_workers_that_share_two_cores_collapse_and_are_taken_back(demand: int) -> None:
    """Whether the larger farm has more slots than there is work, or not: the farm ends with one, and stays so."""
    farm = Farm(lambda size: 1 / size, demand=1)
    farm.run(60)
    assert Reason.NO_GAIN in farm.run(900, demand=demand)
    assert max(sizes(farm)) > 1, "it was tried"
    assert set(sizes(farm)[-150:]) == {1}
    assert farm.decisions[-1].bound == Bound(1, Reason.NO_GAIN, "more than 1 did no more")


def test_a_clear_loss_is_not_waited_for() -> None:
    """After eight seconds at the larger size, not after an interval: what it holds is to be drained."""
    farm = Farm(lambda size: 1 / size, demand=6)
    farm.run(60)
    farm.run(60, demand=400)
    grown = next(one for one in farm.decisions if one.desired > one.current)
    taken_back = next(one for one in farm.decisions if one.reason is Reason.NO_GAIN)
    assert 8 <= taken_back.at - grown.at <= 14


def test_the_size_that_pays_is_found_by_one_at_a_time() -> None:
    """Ten workers on two cores do twice what one does: back at one, a second one pays, and a third does not."""
    farm = Farm(shared(2), demand=6)
    farm.run(60)
    farm.run(600, demand=400)
    assert farm.serving == 2
    first = next(number for number, one in enumerate(farm.decisions) if one.reason is Reason.NO_GAIN)
    assert sizes(farm)[first - 1 : first + 1] == [10, 1]
    assert max(later - earlier for earlier, later in pairwise(sizes(farm)[first:])) == 1
    assert max(sizes(farm)[first:]) == 3


def test_a_size_is_known_before_one_more_is_tried() -> None:
    """After a growth was taken back, a whole interval at the smaller size comes before the next try."""
    farm = Farm(lambda size: 1 / size, demand=1)
    farm.run(60)
    farm.run(900, demand=400)
    taken_back = next(one for one in farm.decisions if one.reason is Reason.NO_GAIN)
    grown = next((one for one in farm.decisions if one.at > taken_back.at and one.desired > one.current), None)
    assert grown is None or grown.at - taken_back.at >= POLICY.interval_s


def test_a_ceiling_holds_for_an_hour() -> None:
    """Then one more is tried, and taken back again."""
    farm = Farm(lambda size: 1 / size, demand=1)
    farm.run(60)
    farm.run(900, demand=400)
    since = len(farm.decisions)
    farm.run(HOLDS_S / 2)
    assert set(sizes(farm)[since:]) == {1}
    farm.run(HOLDS_S)
    assert max(sizes(farm)[since:]) == 2
    assert farm.serving == 1


@pytest.mark.parametrize("change", [{"machine": "another"}, {"model": "another"}, {"tokens_a_step": 400}])
def test_a_ceiling_falls_with_what_it_was_made_of(change: dict[str, object]) -> None:
    """Other machines, another model, another kind of load: growth is tried anew."""
    farm = Farm(lambda size: 1 / size, demand=1)
    farm.run(60)
    farm.run(600, demand=400)
    assert farm.serving == 1
    since = len(farm.decisions)
    farm.run(120, **change)
    assert max(sizes(farm)[since:]) > 2


def test_nothing_is_judged_where_nothing_was_counted() -> None:
    """Workers of an older release tell no tokens; the farm grows as it always did."""
    farm = Farm(lambda size: 0.0, demand=400)
    farm.run(300)
    assert farm.serving == POLICY.most


def test_a_person_may_try_what_did_not_pay() -> None:
    """A ceiling is no bound for who asks by hand; the hosts' room is."""
    farm = Farm(lambda size: 1 / size, demand=1)
    farm.run(60)
    farm.run(600, demand=400)
    seen = farm._seen()
    decision, memory = decide(POLICY, farm.memory, replace(seen, at=seen.at + 1), asked=3)
    assert (decision.desired, decision.reason) == (3, Reason.ASKED)
    assert memory.gains.ceiling is None
    full = replace(seen, at=seen.at + 1, room=Room(2, "2 of 2 cores"))
    assert decide(POLICY, farm.memory, full, asked=3)[0].desired == 2


def test_a_disabled_controller_takes_nothing_back() -> None:
    gains = Gains(good=1, bad=2, bad_until=1e9)
    farm = Farm(lambda size: size, demand=16, serving=2)
    policy = replace(POLICY, is_enabled=False)
    decision, _ = decide(policy, Memory(gains=gains), farm._seen())
    assert (decision.desired, decision.reason) == (2, Reason.DISABLED)


def test_the_farm_grows_no_further_than_its_machines_carry() -> None:
    """Nor stays larger; the reason and the bound are told in numbers."""
    farm = Farm(lambda size: size, demand=400, room=Room(2, "2 of 2 cores"))
    assert Reason.HOST_FULL in farm.run(120)
    assert farm.serving == 2
    assert farm.decisions[-1].bound == Bound(2, Reason.HOST_FULL, "host full: 2 of 2 cores")
    farm.run(4, room=Room(1, "7.1 of 8.0 GiB"))
    assert farm.serving == 1
    assert Reason.HOST_FULL in {decision.reason for decision in farm.decisions[-2:]}
    farm.run(4, room=Room(0, "8.0 of 8.0 GiB"))
    assert farm.serving == 1, "a farm without a worker serves nobody"


def test_the_least_is_what_the_machines_carry() -> None:
    """MIN_INSTANCES beyond the host's room is no reason to start what does not fit."""
    farm = Farm(lambda size: size, demand=1, room=Room(2, "2 of 2 cores"))
    decision, _ = decide(replace(POLICY, least=4), Memory(), farm._seen())
    assert (decision.desired, decision.reason) == (2, Reason.BELOW_MIN)
