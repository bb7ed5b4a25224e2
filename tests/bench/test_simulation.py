"""The simulated farm: queueing theory's figures, the same twice, and what its scalers do to it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from autoscale.decision import Policy
from autoscale.observation import Observation
from bench.scaling import LEVELS, at_hand, constant
from bench.simulation import events, loads
from bench.simulation.farm import Farm
from bench.simulation.loads import Load
from bench.simulation.ours import Echo
from bench.simulation.peers import CeleryAutoscaler, Hpa, Keda, PlusMinusOne, RayServe
from bench.simulation.play import play
from bench.simulation.service import ON_TWO_CORES, Service

ONE_AT_A_TIME = Service(slots=1, decoded_per_s=((1, 1.0),))
"""A worker as queueing theory knows it: one job at a time, a token a second."""


class Still:
    """Changes nothing."""

    name, grace_s = "still", math.inf

    def change(self, seen: Observation) -> int:
        return 0


def exponential(rate: float, count: int, seed: int) -> Load:
    """Poisson arrivals of jobs of a mean of one second."""
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.exponential(1 / rate, count))
    return Load("m/m/c", at, rng.exponential(1.0, count), float(at[-1]))


@pytest.mark.parametrize(
    ("servers", "utilisation", "waiting", "mean_wait"),
    [(1, 0.5, 0.500, 1.00), (2, 0.8, 0.711, 1.78), (4, 0.8, 0.596, 0.75), (10, 0.9, 0.669, 0.67)],
)
def test_queues_are_as_erlang_says(servers: int, utilisation: float, waiting: float, mean_wait: float) -> None:
    """The share of jobs that wait, and how long, of an M/M/c queue."""
    load = exponential(utilisation * servers, 400_000, seed=5)
    farm = Farm(load, ONE_AT_A_TIME, workers=servers)
    farm.advance(load.span_s + 1000)
    waits = farm.state.began - load.at
    assert (waits > 1e-9).mean() == pytest.approx(waiting, rel=0.03)
    assert waits.mean() == pytest.approx(mean_wait, rel=0.06)
    assert farm.state.counts[events.DONE] == len(load.at)


def test_a_batch_is_as_fast_as_it_was_measured() -> None:
    """Eight jobs at once take as long as their tokens at the rate of eight rows; one alone is faster."""
    service = Service()
    for rows, expected_s in ((8, 8 * 583 / 583.0), (1, 583 / 94.0)):
        farm = Farm(Load("batch", np.zeros(rows), np.full(rows, 583.0), 60.0), service, workers=1)
        farm.advance(60.0)
        assert farm.state.ended.tolist() == pytest.approx([expected_s] * rows)


def test_the_same_load_gives_the_same_outcome() -> None:
    """Nothing is left to chance but the load."""
    load = loads.bursts(np.random.default_rng(3), jobs=2_000)
    first, second = (play(load, Service(), Echo(Policy())) for _ in range(2))
    np.testing.assert_array_equal(first.waits_s, second.waits_s)
    np.testing.assert_array_equal(first.trail, second.trail)


def test_a_worker_serves_when_it_has_started() -> None:
    """Until then nothing is taken; its seconds count from the order on."""
    farm = Farm(Load("one", np.zeros(1), np.array([94.0]), 60.0), Service(startup_s=7.0), workers=0)
    farm.start(1)
    assert farm.observed().starting == 1
    farm.advance(6.9)
    assert farm.observed().ready == 1
    farm.advance(8.1)
    assert farm.state.began[0] == 7.0
    assert farm.state.ended[0] == pytest.approx(8.0)
    assert farm.state.sums[events.WORKER_S] == pytest.approx(8.1)


def test_a_drained_worker_finishes_and_a_killed_one_loses_what_it_held() -> None:
    """Without an end of its grace a worker goes when it is done; a killed one's jobs begin anew after their leases."""
    service = Service()
    load = Load("two", np.full(2, 0.5), np.full(2, 940.0), 90.0)
    for grace_s, cuts, killed in ((math.inf, [0, 0], 0), (2.0, [1, 0], 1)):
        farm = Farm(load, service, workers=2)
        farm.advance(1.0)
        farm.stop(["worker-0"], grace_s)
        assert [instance.is_draining for instance in farm.observed().instances] == [True, False]
        farm.advance(60.0)
        assert farm.state.cuts.tolist() == cuts
        assert farm.state.counts[events.KILLED] == killed
        assert farm.state.counts[events.DONE] == 2
        assert len(farm.observed().instances) == 1
        assert (farm.state.ended[0] > 3.0 + service.redelivery_s + 10.0) == bool(killed)


def test_our_decision_ends_nobody_who_works() -> None:
    """Up and down on a load that comes and goes, no job is begun twice."""
    rng = np.random.default_rng(2)
    rates = np.tile([1.0, 8.0, 2.0, 0.2], 6)
    load = loads.binned("waves", rates, 3600.0 * 2, np.ones(len(rates)), rng).filling(0.7, 10, Service())
    outcome = play(load, Service(), Echo(Policy(stabilisation_s=60, interval_s=10)))
    assert outcome.changes > 20
    assert outcome.killed == 0


@pytest.mark.parametrize(
    "scaler",
    [Hpa(1, 10), Keda(1, 10), RayServe(1, 10, 8), CeleryAutoscaler(1, 10, 8), PlusMinusOne(1, 10)],
    ids=lambda scaler: scaler.name,
)
def test_peers_grow_under_load_within_the_bounds_and_shrink_after_it(scaler: Hpa) -> None:
    """Each of them, from one worker to what the load needs, and back."""
    load = Load("hump", np.linspace(0.0, 1200.0, 12_000), np.full(12_000, 300.0), 3600.0)
    trail = play(load, Service(), scaler).trail
    serving = trail[:, 2] / Service().slots
    assert 5 <= serving[550] <= serving.max() <= 10
    assert serving[-1] == 1


def test_hpa_asks_for_the_ratio_of_what_is_ready() -> None:
    """`ceil(ready * utilisation / target)`, beyond a tolerance of a tenth, by four or twice as many at most."""
    scaler, service = Hpa(1, 10), Service()
    farm = Farm(Load("full", np.zeros(80), np.full(80, 1e6), 60.0), service, workers=4)
    farm.advance(0.0)
    assert scaler.change(farm.observed()) == 1
    calm = Farm(Load("most", np.zeros(26), np.full(26, 1e6), 60.0), service, workers=4)
    calm.advance(0.0)
    assert Hpa(1, 10).change(calm.observed()) == 0


def test_without_traces_the_generated_load_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And it is said that it is alone."""
    monkeypatch.setattr(loads, "TRACES", tmp_path / "none")
    assert [load.name for load in at_hand(Service(), seed=1)] == ["gamma-cv13"]
    assert "the generated load alone" in capsys.readouterr().out


def test_bursts_are_as_bursty_as_they_are_said_to_be() -> None:
    """Inter-arrivals with a coefficient of variation of 13."""
    gaps = np.diff(loads.bursts(np.random.default_rng(1), jobs=200_000).at)
    assert gaps.std() / gaps.mean() == pytest.approx(13, rel=0.1)


@pytest.mark.parametrize("level", LEVELS)
def test_constant_load_is_followed_without_a_reversal(level: float) -> None:
    """A day of Poisson arrivals at each level of ten workers: nobody goes within five minutes of a growth."""
    service = Service()
    outcome = play(constant(level, 10, service, 86_400.0, seed=11, tokens=8_000.0), service, Echo(Policy()))
    assert outcome.reversals == 0
    assert outcome.killed == 0
    size = outcome.trail[-1, 1]
    assert size >= level * 10
    assert outcome.goodput > 0.97 or size == Policy().most, "jobs wait where there may be no more workers, not before"


def test_workers_of_one_machine_share_its_speed() -> None:
    """Two busy ones take the time that `together` says; one that has nothing to do costs the other nothing."""
    service = Service(slots=1, together=((1, 1.0), (2, 0.5)))
    for jobs, expected_s in ((1, 1.0), (2, 4.0)):
        farm = Farm(Load("shared", np.zeros(jobs), np.full(jobs, 94.0), 60.0), service, workers=2)
        farm.advance(60.0)
        assert farm.state.ended.tolist() == pytest.approx([expected_s] * jobs)
    farm = Farm(Load("shared", np.array([0.0, 0.5]), np.array([94.0, 94.0]), 60.0), service, workers=2)
    farm.advance(2.5)
    assert [instance.tokens for instance in farm.observed().instances] == pytest.approx([94 * 1.0, 94 * 0.5], abs=1)
    farm.advance(60.0)
    assert farm.state.ended.tolist() == pytest.approx([2.5, 3.0])


def test_a_farm_that_shares_cores_is_taken_back_where_the_known_ones_collapse() -> None:
    """A load that one worker carries: with all others the farm ends with ten, and ever more waits; ours has one."""
    service = Service(together=tuple(ON_TWO_CORES.items()))
    load = loads.poisson(np.random.default_rng(1), 0.6 * service.full_tokens_per_s / 400, 3600.0)
    ours = play(load, service, Echo(Policy()))
    assert ours.trail[-300:, 1].max() <= 2
    for peer in (Hpa(1, 10), RayServe(1, 10, service.slots), CeleryAutoscaler(1, 10, service.slots)):
        theirs = play(load, service, peer)
        assert theirs.trail[-1, 1] == 10
        assert theirs.p50_s > 10 * ours.p50_s
