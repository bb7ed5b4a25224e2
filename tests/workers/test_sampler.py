"""The sampler against a straightforward numpy one, with drawn numbers chosen by the test."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from workers import fused
from workers.penalties import Seen
from workers.sampler import Choice, Row, Sampler
from workers.sequence import GenerationRequest, Sampling
from workers.sequence import Sequence as Generating
from workers.tokenizer import Tokenizer

ALMOST_ONE = 1 - 2**-53
"""The largest number that random() returns."""

DRAWS = 256


_MASK = 2**64 - 1


def key_of(number: float) -> int:
    """The key whose first number is this one: splitmix64, backwards."""
    z = int(number * 2**53) << 11
    z ^= z >> 31 ^ z >> 62
    z = z * pow(0x94D049BB133111EB, -1, 2**64) & _MASK
    z ^= z >> 27 ^ z >> 54
    z = z * pow(0xBF58476D1CE4E5B9, -1, 2**64) & _MASK
    z ^= z >> 30 ^ z >> 60
    return (z - 0x9E3779B97F4A7C15) & _MASK


class Counted(Seen):
    """Tokens seen as often as the test says."""

    def __init__(self, sampling: Sampling, counts: Mapping[int, float]) -> None:
        self._of = sampling
        self._given = counts

    def penalties(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        counts = np.array([*self._given.values()], dtype=np.float32)
        penalties = self._of.presence_penalty + counts * self._of.frequency_penalty
        return np.array([*self._given], dtype=np.int64), penalties.astype(np.float32)


Choose = Callable[..., list[Choice]]
Chooser = Callable[..., int | None]


@pytest.fixture(scope="session")
def choose_all(backend: Any) -> Choose:
    """`choose_all(logits, rows, banned)`: the choices for logits (R, V) in fp32."""

    def choose(logits: torch.Tensor, rows: Sequence[Row], banned: Sequence[int] = ()) -> list[Choice]:
        if backend.device != "cpu" or backend.kernels == "plain":
            return Sampler(banned, backend.device).choose(logits.to(backend.device), rows)
        return fused.Sampler(banned, logits.shape[1], torch.float32, len(rows)).choose(logits, rows)

    return choose


@pytest.fixture(scope="session")
def choose(choose_all: Choose) -> Chooser:
    """`choose(logits, sampling, number)`: the token for one row when `number` is drawn first."""

    def choose(
        logits: Sequence[float] | NDArray[np.float64],
        sampling: Sampling,
        number: float = 0.5,
        *,
        counts: Mapping[int, float] | None = None,
        banned: Sequence[int] = (),
    ) -> int | None:
        tensor = torch.tensor(np.asarray(logits), dtype=torch.float32)[None]
        row = Row(sampling, key_of(number), Counted(sampling, counts) if counts else None)
        return choose_all(tensor, [row], banned)[0].token

    return choose


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


def drawn_evenly(
    choose_all: Choose,
    draws: int,
    logits: NDArray[np.float64],
    sampling: Sampling,
    counts: Mapping[int, float] | None = None,
    banned: Sequence[int] = (),
) -> Counter[int | None]:
    """How often each token comes when the first numbers are drawn evenly."""
    tensor = torch.tensor(logits, dtype=torch.float32).expand(draws, -1).contiguous()
    seen = Counted(sampling, counts) if counts else None
    rows = [Row(sampling, key_of((n + 0.5) / draws), seen) for n in range(draws)]
    return Counter(choice.token for choice in choose_all(tensor, rows, banned))


@given(
    values=st.lists(st.integers(-40, 40), min_size=2, max_size=30, unique=True),
    top_k=st.integers(0, 32),
    top_p=st.floats(0.01, 1),
    temperature=st.floats(0.1, 2),
    presence=st.floats(-2, 2),
    frequency=st.floats(-2, 2),
    data=st.data(),
)
@settings(max_examples=60)
def test_tokens_come_with_their_probabilities(
    choose_all: Choose,
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
    found = drawn_evenly(choose_all, DRAWS, logits, sampling, counts, banned)
    assert all(token is not None and probabilities[token] > 0 for token in found)
    spread = np.sqrt(DRAWS * probabilities * (1 - probabilities))  # at most: only what fell outside is drawn anew
    assert all(abs(found[token] - DRAWS * p) <= 1.001 + 6 * spread[token] for token, p in enumerate(probabilities))


@pytest.mark.parametrize(
    "greedy", [Sampling(temperature=0), Sampling(top_k=1), Sampling(top_p=0), Sampling(temperature=0, top_k=3)]
)
@pytest.mark.parametrize("number", [0.0, ALMOST_ONE])
def test_greedy_is_the_most_likely_token(choose: Chooser, greedy: Sampling, number: float) -> None:
    """Temperature 0, a top-k of 1 and a top-p of 0 take the largest logit, whatever is drawn."""
    assert choose([0.5, -1.0, 3.0, 2.999], greedy, number) == 2


def test_greedy_heeds_penalties(choose: Chooser) -> None:
    """Greedy takes the largest logit after the penalties are taken off."""
    greedy = Sampling(temperature=0, presence_penalty=0.5, frequency_penalty=0.25)
    assert choose([3.0, 2.0], greedy, counts={0: 1.0}) == 0
    assert choose([3.0, 2.0], greedy, counts={0: 3.0}) == 1


@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty"])
def test_each_penalty_counts_alone(choose: Chooser, name: str) -> None:
    """One penalty is enough to turn greedy from a token that has been seen, and no token seen is no penalty."""
    greedy = Sampling(temperature=0, **{name: 1.5})  # type: ignore[arg-type]
    assert choose([3.0, 2.0], greedy) == 0
    assert choose([3.0, 2.0], greedy, counts={0: 1.0}) == 1


def test_a_number_falls_into_its_tokens_share(choose: Chooser) -> None:
    """With four equal tokens each has a quarter of the numbers, its lower bound included."""
    numbers = [0.0, 0.25 - 2**-54, 0.25, 0.5, 0.75 - 2**-53, 0.75, ALMOST_ONE]
    assert [choose([1.0] * 4, Sampling(top_p=1), number) for number in numbers] == [0, 0, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(("top_p", "kept"), [(0.249, 1), (0.26, 2), (0.499, 2), (0.51, 3), (0.749, 3), (1, 4)])
@pytest.mark.parametrize("top_k", [0, 4])
def test_the_nucleus_is_the_least_that_holds_top_p(choose_all: Choose, top_p: float, kept: int, top_k: int) -> None:
    """Of almost equal tokens just so many are kept that their probabilities reach top-p, the most probable first."""
    logits = 1 - 1e-5 * np.arange(4)
    found = drawn_evenly(choose_all, 64, logits, Sampling(top_p=top_p, top_k=top_k))
    assert set(found) == set(range(kept))


def test_top_p_counts_within_top_k(choose_all: Choose) -> None:
    """Top-k comes first: top-p is a share of what top-k left, as in vLLM."""
    logits = np.log([0.4, 0.3, 0.2, 0.1])
    assert set(drawn_evenly(choose_all, 64, logits, Sampling(top_p=0.7, top_k=0))) == {0, 1}
    assert set(drawn_evenly(choose_all, 64, logits, Sampling(top_p=0.7, top_k=3))) == {0, 1}
    assert set(drawn_evenly(choose_all, 64, logits, Sampling(top_p=0.55, top_k=2))) == {0}


def test_top_k_of_more_than_the_vocabulary_is_no_limit(choose_all: Choose) -> None:
    """A top-k over the number of tokens keeps them all."""
    assert len(drawn_evenly(choose_all, 64, np.ones(4), Sampling(top_p=1, top_k=100))) == 4


@pytest.mark.parametrize(
    "sampling",
    [Sampling(temperature=0), Sampling(top_p=1), Sampling(top_p=0.9), Sampling(top_k=5), Sampling(top_k=1)],
    ids=["greedy", "all", "top-p", "top-k", "top-1"],
)
@pytest.mark.parametrize("number", [0.0, 0.5, ALMOST_ONE])
def test_banned_ids_are_never_chosen(choose: Chooser, sampling: Sampling, number: float) -> None:
    """Ids that are banned do not come, though the model wants nothing else and they are first and last."""
    assert choose([50.0, 1.0, 1.0, 50.0, 50.0], sampling, number, banned=[0, 3, 4]) in {1, 2}


@pytest.mark.parametrize("temperature", [1e-40, 5e-324])
@pytest.mark.parametrize(("top_p", "top_k"), [(0.9, 0), (1, 0), (0.9, 2)])
def test_hardly_any_temperature_is_greedy(choose: Chooser, temperature: float, top_p: float, top_k: int) -> None:
    """The smallest temperatures that a request may hold take the most likely token, and no banned one."""
    hardly = Sampling(temperature=temperature, top_p=top_p, top_k=top_k)
    assert choose([1.0, 3.0, 2.0, 9.0], hardly, ALMOST_ONE, banned=[3]) == 1


def test_a_low_temperature_still_draws(choose: Chooser) -> None:
    """At a thousandth, logits that lie a thousandth apart both have their chance."""
    low = Sampling(temperature=2**-10, top_p=1)
    assert [choose([1.0, 1.0 - 2**-10], low, number) for number in (0.0, ALMOST_ONE)] == [0, 1]


@pytest.mark.parametrize("fault", [math.nan, math.inf])
def test_a_logit_that_is_no_number_is_told(choose: Chooser, fault: float) -> None:
    """NaN and infinity among the logits are no token, for greedy requests too."""
    for sampling in (Sampling(), Sampling(temperature=0)):
        assert choose([1.0, fault, 2.0], sampling) is None


def test_rows_are_chosen_each_for_itself(choose_all: Choose) -> None:
    """A batch of rows with settings of their own, one of them spoiled, gives what each row gives alone."""
    logits = torch.randn(40, 3000, generator=torch.Generator().manual_seed(3))
    logits[7, 5] = math.nan
    random = Random(1)
    rows = [
        Row(
            Sampling(
                temperature=random.choice((0, 0.3, 1, 2)),
                top_p=random.choice((0.1, 0.5, 0.9, 1)),
                top_k=random.choice((0, 1, 2, 50)),
                presence_penalty=(penalty := random.choice((0, 1.5))),
            ),
            random.getrandbits(64),
            Counted(Sampling(presence_penalty=penalty), {int(logits[n].argmax()): 1.0}) if penalty else None,
        )
        for n in range(40)
    ]
    together = choose_all(logits, rows, [1, 2])
    alone = [choose_all(logits[n : n + 1], [rows[n]], [1, 2])[0] for n in range(40)]
    assert [one.token for one in together] == [one.token for one in alone]
    assert together[7].token is None
    assert len({one.token for one in together}) > 20


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_samplers_choose_alike(dtype: torch.dtype) -> None:
    """The fused sampler and the plain one take the same tokens for the same keys, and as probable ones."""
    random = Random(2)
    logits = 4 * torch.randn(200, 5000, generator=torch.Generator().manual_seed(4)).to(dtype)
    rows = [
        Row(Sampling(temperature=random.uniform(0.2, 2), top_p=random.random(), top_k=random.choice((0, 0, 40))), key)
        for key in (random.getrandbits(64) for _ in range(200))
    ]
    ours = fused.Sampler([3], 5000, dtype, 200).choose(logits, rows)
    plain = Sampler([3]).choose(logits, rows)
    assert sum(one.token == other.token for one, other in zip(ours, plain, strict=True)) >= 198  # rounding at an edge
    for one, other in zip(ours, plain, strict=True):
        if one.token == other.token:
            assert one.logprob == pytest.approx(other.logprob, abs=2e-5)


@pytest.mark.parametrize("sampling", [Sampling(temperature=0), Sampling(temperature=0.3, top_k=2), Sampling(top_p=1)])
def test_the_log_probability_is_the_models_own(choose_all: Choose, sampling: Sampling) -> None:
    """It is of the distribution without the banned ids, before penalties and temperature."""
    logits = torch.tensor([[2.0, 1.0, 0.0, 9.0]])
    row = Row(sampling, key_of(0.1), Counted(Sampling(presence_penalty=0.5), {0: 1.0}))
    (choice,) = choose_all(logits, [row], [3])
    assert choice.token == 0
    assert choice.logprob == pytest.approx(2 - math.log(math.exp(2) + math.exp(1) + 1), rel=1e-5)


def test_logits_are_left_as_they_were(choose_all: Choose) -> None:
    """Choosing does not change the model's logits."""
    logits = torch.tensor([[2.0, 1.0, 0.0]])
    choose_all(logits, [Row(Sampling(), 1, Counted(Sampling(presence_penalty=1), {0: 1.0}))], [2])
    assert logits.tolist() == [[2.0, 1.0, 0.0]]


@pytest.mark.parametrize("size", [257, 3000, 65536])
def test_a_wide_nucleus_is_right(choose: Chooser, size: int) -> None:
    """Nearly flat logits, where nine tokens of ten are kept: what is drawn is one of them."""
    logits = np.random.default_rng(size).normal(scale=0.01, size=size).astype(np.float32).astype(np.float64)
    probabilities, _ = oracle(logits, Sampling(top_p=0.9), {}, [])
    whole, _ = oracle(logits, Sampling(top_p=1), {}, [])
    for number in (0.0, 0.1, 0.5, 0.9, 0.999, ALMOST_ONE):
        token = choose(logits, Sampling(top_p=0.9), number)
        assert token is not None
        assert probabilities[token] > 0
        first = min(int(np.searchsorted(np.cumsum(whole), number, side="right")), size - 1)
        if probabilities[first] > 0:
            assert abs(token - first) <= 2  # sums of so many in another order
    assert int((probabilities > 0).sum()) > 0.8 * size


def test_counts_fade_with_every_token(tokenizer: Tokenizer) -> None:
    """A token's count for the penalties shrinks by the decay at each token, and grows by one at its own."""
    sampling = Sampling(presence_penalty=0.5, frequency_penalty=2, penalty_decay=0.5)
    sequence = Generating.start(GenerationRequest("x", sampling), [1])
    for token in (66, 67, 66):
        sequence.accept(token, 0.0, tokenizer)
    assert sequence.seen is not None
    ids, penalties = sequence.seen.penalties()
    assert dict(zip(ids.tolist(), penalties.tolist(), strict=True)) == {66: 0.5 + 2 * 1.25, 67: 0.5 + 2 * 0.5}


def test_many_tokens_are_counted() -> None:
    """A long answer's tokens are all there, the same as by plain counting."""
    seen, counts = Seen(presence=0.0, frequency=1.0, decay=0.9), dict[int, float]()
    random = Random(3)
    for _ in range(500):
        token = random.randrange(200)
        seen.add(token)
        counts = {other: 0.9 * count for other, count in counts.items()}
        counts[token] = counts.get(token, 0) + 1
    ids, penalties = seen.penalties()
    assert dict(zip(ids.tolist(), penalties.tolist(), strict=True)) == pytest.approx(counts, rel=1e-4)


def test_without_penalties_nothing_is_counted() -> None:
    """An answer that is not penalised pays nothing for it."""
    assert Generating.start(GenerationRequest("x", Sampling()), [1]).seen is None
