"""Several tiers as one: promotion, writing through, and faults that cost nothing but the tier."""

from __future__ import annotations

import logging

import pytest

from cache.memory import MemoryTier
from cache.tier import MISS, Entry, Miss, Tier, TierFault
from cache.tiered import REST_S, TieredCache


class Clock:
    """A clock that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Faulty(Tier):
    """A tier that is always away."""

    name = "faulty"

    def get(self, key: str) -> Entry | Miss:
        raise TierFault("away")

    def set(self, key: str, entry: Entry) -> None:
        raise TierFault("away")

    def delete(self, key: str) -> None:
        raise TierFault("away")


@pytest.fixture
def clock() -> Clock:
    """The clock of all tiers."""
    return Clock()


@pytest.fixture
def fast(clock: Clock) -> MemoryTier:
    """The first tier."""
    return MemoryTier(10_000, clock=clock)


@pytest.fixture
def middle(clock: Clock) -> MemoryTier:
    """The second tier."""
    return MemoryTier(10_000, clock=clock)


@pytest.fixture
def slow(clock: Clock) -> MemoryTier:
    """The last tier."""
    return MemoryTier(10_000, clock=clock)


@pytest.fixture
def cache(fast: MemoryTier, middle: MemoryTier, slow: MemoryTier) -> TieredCache:
    """Three tiers, all well."""
    return TieredCache([fast, middle, slow])


def test_what_no_tier_holds_is_a_miss(cache: TieredCache) -> None:
    """A key that no tier holds is MISS, and so is every key without tiers."""
    assert cache.get("key") is MISS
    assert TieredCache([]).get("key") is MISS


def test_set_writes_to_all(cache: TieredCache, fast: MemoryTier, middle: MemoryTier, slow: MemoryTier) -> None:
    """Every tier holds the value, with its whole time."""
    cache.set("key", b"value", 10.0)
    assert [tier.get("key") for tier in (fast, middle, slow)] == [Entry(b"value", 10.0)] * 3
    assert cache.get("key") == b"value"


def test_the_fastest_tier_answers(cache: TieredCache, fast: MemoryTier, slow: MemoryTier) -> None:
    """What a faster tier holds is not asked for further down."""
    fast.set("key", Entry(b"fast", 10.0))
    slow.set("key", Entry(b"slow", 10.0))
    assert cache.get("key") == b"fast"


def test_promotion_keeps_the_time_that_is_left(
    cache: TieredCache, clock: Clock, fast: MemoryTier, middle: MemoryTier, slow: MemoryTier
) -> None:
    """A value found further down is copied up, to expire when it would have."""
    slow.set("key", Entry(b"value", 10.0))
    clock.now += 4
    assert cache.get("key") == b"value"
    assert [tier.get("key") for tier in (fast, middle)] == [Entry(b"value", 6.0)] * 2
    clock.now += 6
    assert cache.get("key") is MISS
    assert fast.get("key") is MISS


def test_promotion_goes_up_only(cache: TieredCache, fast: MemoryTier, middle: MemoryTier, slow: MemoryTier) -> None:
    """Finding a value writes to the faster tiers, never to the slower."""
    middle.set("key", Entry(b"value", 10.0))
    assert cache.get("key") == b"value"
    assert fast.get("key") == Entry(b"value", 10.0)
    assert slow.get("key") is MISS


def test_an_empty_value_is_no_miss(cache: TieredCache, slow: MemoryTier) -> None:
    """Empty bytes are a value, promoted like any other."""
    slow.set("key", Entry(b"", 10.0))
    assert cache.get("key") == b""


def test_delete_forgets_in_all(cache: TieredCache, fast: MemoryTier, middle: MemoryTier, slow: MemoryTier) -> None:
    """No tier holds the key afterwards, and other keys stay."""
    cache.set("key", b"value", 10.0)
    cache.set("other", b"value", 10.0)
    cache.delete("key")
    assert [tier.get("key") for tier in (fast, middle, slow)] == [MISS] * 3
    assert cache.get("other") == b"value"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_faulty_tier_costs_only_itself(place: int, fast: MemoryTier, slow: MemoryTier) -> None:
    """With one tier away the others are written, read and deleted from; nothing is raised."""
    tiers: list[Tier] = [fast, slow]
    tiers.insert(place, Faulty())
    cache = TieredCache(tiers)
    cache.set("key", b"value", 10.0)
    assert [tier.get("key") for tier in (fast, slow)] == [Entry(b"value", 10.0)] * 2
    fast.delete("key")
    assert cache.get("key") == b"value"
    assert fast.get("key") == Entry(b"value", 10.0)
    cache.delete("key")
    assert [tier.get("key") for tier in (fast, slow)] == [MISS] * 2


def test_all_tiers_away_is_a_miss() -> None:
    """With no tier left every key is MISS, and writing raises nothing."""
    cache = TieredCache([Faulty(), Faulty()])
    cache.set("key", b"value", 10.0)
    cache.delete("key")
    assert cache.get("key") is MISS


def test_a_fault_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Each fault is a warning that names the tier and says what happened."""
    with caplog.at_level(logging.WARNING, logger="cache.tiered"):
        TieredCache([Faulty()]).get("key")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "cache tier faulty: away")
    ]


def test_a_tier_with_a_fault_rests_for_a_while(clock: Clock) -> None:
    """A server that hangs costs one caller its timeout, not every caller; after its rest it is asked again."""

    class Counting(Faulty):
        calls = 0

        def get(self, key: str) -> Entry | Miss:
            self.calls += 1
            return super().get(key)

    tier = Counting()
    cache = TieredCache([tier], clock)
    for _ in range(5):
        assert cache.get("key") is MISS
    assert tier.calls == 1
    clock.now += REST_S
    assert cache.get("key") is MISS
    assert tier.calls == 2
