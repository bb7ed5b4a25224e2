"""The sampler against a straightforward numpy one, with drawn numbers chosen by the test."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from echo_tasks.errors import GenerationError
from workers.sampler import Sampler
from workers.sequence import GenerationRequest, Sampling
from workers.sequence import Sequence as Generating
from workers.tokenizer import Tokenizer

ALMOST_ONE = 1 - 2**-53
"""The largest number that random() returns."""

DRAWS = 256


class Drawn(Random):
    """A random source that draws one chosen number."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self._number = number

    def random(self) -> float:
        return self._number


def choose(
    logits: Sequence[float] | NDArray[np.float64],
    sampling: Sampling,
    number: float = 0.5,
    *,
    counts: Mapping[int, float] | None = None,
    banned: Sequence[int] = (),
) -> int:
    """The token that the sampler chooses when `number` is drawn."""
    tensor = torch.tensor(np.asarray(logits), dtype=torch.float32)
    return Sampler(banned).choose(tensor, sampling, counts or {}, Drawn(number))[0]


def oracle(
    logits: NDArray[np.float64], sampling: Sampling, counts: Mapping[int, float], banned: Sequence[int]
) -> tuple[NDArray[np.float64], float]:
    """The probability of every token, and how close the nucleus came to holding one token more or less."""
    logits = logits.copy()
    logits[list(banned)] = -math.inf
    for token, count in counts.items():
        logits[token] -= sampling.presence_penalty + count * sampling.frequency_penalty
    probabilities = np.exp((logits - logits.max()) / sampling.temperature)
    probabilities /= probabilities.sum()
    order = np.argsort(-probabilities, kind="stable")
    if sampling.top_k:
        probabilities[order[sampling.top_k :]] = 0
        probabilities /= probabilities.sum()
    before = np.cumsum(probabilities[order]) - probabilities[order]
    if sampling.top_p < 1:
        probabilities[order[before >= sampling.top_p]] = 0
    return probabilities / probabilities.sum(), float(np.abs(before - sampling.top_p).min())


def drawn_evenly(draws: int, logits: NDArray[np.float64], sampling: Sampling, **others: object) -> Counter[int]:
    """How often each token comes when numbers are drawn evenly: as often as its probability says, within one."""
    return Counter(choose(logits, sampling, (n + 0.5) / draws, **others) for n in range(draws))  # type: ignore[arg-type]


@given(
    values=st.lists(st.integers(-40, 40), min_size=2, max_size=30, unique=True),
    top_k=st.integers(0, 32),
    top_p=st.floats(0.01, 1),
    temperature=st.floats(0.1, 2),
    presence=st.floats(-2, 2),
    frequency=st.floats(-2, 2),
    data=st.data(),
)
@settings(deadline=None, max_examples=60)
def test_tokens_come_with_their_probabilities(
    values: list[int],
    top_k: int,
    top_p: float,
    temperature: float,
    presence: float,
    frequency: float,
    data: st.DataObject,
) -> None:
    """Banned ids, penalties, temperature, top-k and top-p together give the oracle's distribution."""
    ids = st.integers(0, len(values) - 1)
    counts = data.draw(st.dictionaries(ids, st.floats(0.01, 3), max_size=4))
    banned = data.draw(st.lists(ids, max_size=len(values) - 1, unique=True))
    logits = np.array(values) / 8
    sampling = Sampling(
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        presence_penalty=presence,
        frequency_penalty=frequency,
    )
    probabilities, margin = oracle(logits, sampling, counts, banned)
    ranked = np.sort(probabilities)
    assume(margin > 1e-4 and (np.diff(ranked[ranked > 0]) > 1e-5).all())
    found = drawn_evenly(DRAWS, logits, sampling, counts=counts, banned=banned)
    assert all(probabilities[token] > 0 for token in found)
    assert all(abs(found[token] - DRAWS * p) <= 1.001 for token, p in enumerate(probabilities))


@pytest.mark.parametrize(
    "greedy", [Sampling(temperature=0), Sampling(top_k=1), Sampling(top_p=0), Sampling(temperature=0, top_k=3)]
)
@pytest.mark.parametrize("number", [0.0, ALMOST_ONE])
def test_greedy_is_the_most_likely_token(greedy: Sampling, number: float) -> None:
    """Temperature 0, a top-k of 1 and a top-p of 0 take the largest logit, whatever is drawn."""
    assert choose([0.5, -1.0, 3.0, 2.999], greedy, number) == 2


def test_greedy_heeds_penalties() -> None:
    """Greedy takes the largest logit after the penalties are taken off."""
    greedy = Sampling(temperature=0, presence_penalty=0.5, frequency_penalty=0.25)
    assert choose([3.0, 2.0], greedy, counts={0: 1.0}) == 0
    assert choose([3.0, 2.0], greedy, counts={0: 3.0}) == 1


@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty"])
def test_each_penalty_counts_alone(name: str) -> None:
    """One penalty is enough to turn greedy from a token that has been seen, and no token seen is no penalty."""
    greedy = Sampling(temperature=0, **{name: 1.5})  # type: ignore[arg-type]
    assert choose([3.0, 2.0], greedy) == 0
    assert choose([3.0, 2.0], greedy, counts={0: 1.0}) == 1


def test_a_number_falls_into_its_tokens_share() -> None:
    """With four equal tokens each has a quarter of the numbers, its lower bound included."""
    numbers = [0.0, 0.25 - 2**-54, 0.25, 0.5, 0.75 - 2**-53, 0.75, ALMOST_ONE]
    assert [choose([1.0] * 4, Sampling(top_p=1), number) for number in numbers] == [0, 0, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(("top_p", "kept"), [(0.25, 1), (0.26, 2), (0.5, 2), (0.51, 3), (0.75, 3), (0.76, 4), (1, 4)])
@pytest.mark.parametrize("top_k", [0, 4])
def test_the_nucleus_is_the_least_that_holds_top_p(top_p: float, kept: int, top_k: int) -> None:
    """Of equal tokens just so many are kept that their probabilities reach top-p."""
    found = drawn_evenly(64, np.ones(4), Sampling(top_p=top_p, top_k=top_k))
    assert len(found) == kept


def test_top_p_counts_within_top_k() -> None:
    """Top-k comes first: top-p is a share of what top-k left, as in vLLM."""
    logits = np.log([0.4, 0.3, 0.2, 0.1])
    assert set(drawn_evenly(64, logits, Sampling(top_p=0.7, top_k=0))) == {0, 1}
    assert set(drawn_evenly(64, logits, Sampling(top_p=0.7, top_k=3))) == {0, 1}
    assert set(drawn_evenly(64, logits, Sampling(top_p=0.55, top_k=2))) == {0}


def test_top_k_of_more_than_the_vocabulary_is_no_limit() -> None:
    """A top-k over the number of tokens keeps them all."""
    assert len(drawn_evenly(64, np.ones(4), Sampling(top_p=1, top_k=100))) == 4


@pytest.mark.parametrize(
    "sampling",
    [Sampling(temperature=0), Sampling(top_p=1), Sampling(top_p=0.9), Sampling(top_k=5), Sampling(top_k=1)],
    ids=["greedy", "all", "top-p", "top-k", "top-1"],
)
@pytest.mark.parametrize("number", [0.0, 0.5, ALMOST_ONE])
def test_banned_ids_are_never_chosen(sampling: Sampling, number: float) -> None:
    """Ids that are banned do not come, though the model wants nothing else and they are first and last."""
    assert choose([50.0, 1.0, 1.0, 50.0, 50.0], sampling, number, banned=[0, 3, 4]) in {1, 2}


@pytest.mark.parametrize("temperature", [1e-40, 5e-324])
@pytest.mark.parametrize(("top_p", "top_k"), [(0.9, 0), (1, 0), (0.9, 2)])
def test_hardly_any_temperature_is_greedy(temperature: float, top_p: float, top_k: int) -> None:
    """The smallest temperatures that a request may hold take the most likely token, and no banned one."""
    hardly = Sampling(temperature=temperature, top_p=top_p, top_k=top_k)
    assert choose([1.0, 3.0, 2.0, 9.0], hardly, ALMOST_ONE, banned=[3]) == 1


def test_a_low_temperature_still_draws() -> None:
    """At a thousandth, logits that lie a thousandth apart both have their chance."""
    low = Sampling(temperature=2**-10, top_p=1)
    assert [choose([1.0, 1.0 - 2**-10], low, number) for number in (0.0, ALMOST_ONE)] == [0, 1]


@pytest.mark.parametrize("fault", [math.nan, math.inf])
def test_a_logit_that_is_no_number_is_an_error(fault: float) -> None:
    """NaN and infinity among the logits raise GenerationError, for greedy requests too."""
    for sampling in (Sampling(), Sampling(temperature=0)):
        with pytest.raises(GenerationError, match="not finite"):
            choose([1.0, fault, 2.0], sampling)


def test_no_token_at_all_is_an_error() -> None:
    """Logits that rule every token out raise GenerationError."""
    with pytest.raises(GenerationError, match="not finite"):
        choose([-math.inf] * 3, Sampling())


def test_the_same_seed_draws_the_same_tokens() -> None:
    """A seed decides every draw; another seed draws otherwise."""
    logits = torch.randn(500, generator=torch.Generator().manual_seed(3))

    def tokens(seed: int) -> list[int]:
        random = Random(seed)
        return [Sampler([]).choose(logits, Sampling(), {}, random)[0] for _ in range(20)]

    assert tokens(5) == tokens(5)
    assert tokens(5) != tokens(6)


@pytest.mark.parametrize("sampling", [Sampling(temperature=0), Sampling(temperature=0.3, top_k=2), Sampling(top_p=1)])
def test_the_log_probability_is_the_models_own(sampling: Sampling) -> None:
    """It is of the distribution without the banned ids, before penalties and temperature."""
    logits = torch.tensor([2.0, 1.0, 0.0, 9.0])
    sampling = Sampling(sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.top_k, presence_penalty=0.5)
    token, logprob = Sampler([3]).choose(logits, sampling, {0: 1.0}, Drawn(0.1))
    assert token == 0
    assert logprob == pytest.approx(2 - math.log(math.exp(2) + math.exp(1) + 1), rel=1e-5)


def test_logits_are_left_as_they_were() -> None:
    """Choosing changes neither the model's logits nor the counts."""
    logits, counts = torch.tensor([2.0, 1.0, 0.0]), {0: 1.0}
    Sampler([2]).choose(logits, Sampling(presence_penalty=1), counts, Drawn(0.5))
    assert logits.tolist() == [2.0, 1.0, 0.0]
    assert counts == {0: 1.0}


@pytest.mark.parametrize("size", [257, 3000, 65536])
def test_a_wide_nucleus_is_right(size: int) -> None:
    """Nearly flat logits, where nine tokens of ten are kept: the drawn token's rank is the oracle's."""
    logits = np.random.default_rng(size).normal(scale=0.01, size=size).astype(np.float32).astype(np.float64)
    probabilities, _ = oracle(logits, Sampling(top_p=0.9), {}, [])
    order = np.argsort(-logits, kind="stable")
    rank = {int(token): at for at, token in enumerate(order)}
    cumulative = np.cumsum(probabilities[order])
    for number in (0.0, 0.1, 0.5, 0.9, 0.999, ALMOST_ONE):
        expected = min(int(np.searchsorted(cumulative, number, side="right")), int((probabilities > 0).sum()) - 1)
        assert abs(rank[choose(logits, Sampling(top_p=0.9), number)] - expected) <= 2
    assert int((probabilities > 0).sum()) > 0.8 * size


def test_counts_decay_with_every_token(tokenizer: Tokenizer) -> None:
    """A token's count for the penalties shrinks by the decay at each token, and grows by one at its own."""
    sequence = Generating.start(GenerationRequest("x", Sampling(penalty_decay=0.5)), [1])
    for token in (66, 67, 66):
        sequence.accept(token, 0.0, tokenizer)
    assert sequence.counts == {66: 1.25, 67: 0.5}
