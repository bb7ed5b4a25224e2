"""Several tiers as one: promotion, demotion, writing through, counting, and faults that cost nothing but the tier."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
import redis
from caching import Clock, brief
from hypothesis import given
from hypothesis import strategies as st
from processes import Site

from cache.disk import DiskTier
from cache.memory import ENTRY_BYTES, MemoryTier
from cache.shared import SharedTier
from cache.statistics import overall
from cache.tags import LONGEST_TTL_S
from cache.tier import MISS, Entry, Level, Tier
from cache.tiered import REST_S, TieredCache

PREFIX = "echo:cache:"


class Ahead:
    """The time, and what the test adds to it: so tiers rest, and expire, when it likes."""

    def __init__(self) -> None:
        self.by_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.by_s


@pytest.fixture
def ahead() -> Ahead:
    """The clock of all tiers."""
    return Ahead()


@pytest.fixture
def tiers(tmp_path: Path, store: redis.Redis, ahead: Ahead) -> tuple[MemoryTier, SharedTier, DiskTier]:
    """All three, empty."""
    return (
        MemoryTier(100_000, clock=ahead),
        SharedTier(store, clock=ahead),
        DiskTier(tmp_path / "disk", 10_000_000, clock=ahead),
    )


@pytest.fixture
def cache(tiers: tuple[MemoryTier, SharedTier, DiskTier], ahead: Ahead) -> TieredCache:
    """The three as one."""
    return TieredCache(tiers[0], tiers[1:], clock=ahead)


def holders(tiers: tuple[Tier, ...], key: str = "key") -> str:
    """The levels that hold a key."""
    return " ".join(tier.name for tier in tiers if tier.get(key) is not MISS)


def counts(cache: TieredCache) -> dict[str, tuple[int, int, int]]:
    """Requests, hits and faults by level."""
    return {level: numbers[:3] for level, numbers in cache.statistics().items()}


def test_what_no_tier_holds_is_a_miss(cache: TieredCache) -> None:
    """For whoever asks in whatever way."""
    assert cache.get("key") is MISS
    assert cache.look_up("key") is None
    assert cache.delete("key") is False


def test_set_writes_to_all(cache: TieredCache, tiers: tuple[Tier, ...]) -> None:
    """Each tier has the same entry, with all its times."""
    cache.set("key", b"value", 10.0, stale_s=5.0)
    one, *others = (tier.get("key") for tier in tiers)
    assert others == [one, one]
    assert one is not MISS
    assert one.stale_at - one.made_at == pytest.approx(10)
    assert one.expires_at - one.stale_at == pytest.approx(5)


@pytest.mark.parametrize("levels", ["l1", "l2", "l3", "l1 l3", "l2 l3", ""])
def test_set_writes_to_chosen_levels_only(cache: TieredCache, tiers: tuple[Tier, ...], levels: str) -> None:
    """And to no other."""
    chosen: list[Level] = levels.split()  # type: ignore[assignment]
    cache.set("key", b"value", 10.0, levels=chosen)
    assert holders(tiers) == levels


@pytest.mark.parametrize(("held", "found_in"), [("l1 l2 l3", "l1"), ("l2 l3", "l2"), ("l3", "l3")])
@pytest.mark.parametrize("value", [b"value", b"", None])
def test_the_fastest_tier_answers_and_all_faster_learn(
    cache: TieredCache, tiers: tuple[Tier, ...], ahead: Ahead, held: str, found_in: str, value: bytes | None
) -> None:
    """What is promoted keeps its times, its stamp and its being nothing; it expires when it would have."""
    now = ahead()
    entry = Entry(value, now - 100, now + 500, now + 1000)
    for tier in tiers:
        if tier.name in held:
            tier.set("key", entry)
    found = cache.look_up("key")
    assert found is not None
    assert (found.value, found.level, found.is_stale) == (value, found_in, False)
    assert found.age_s == pytest.approx(100, abs=20)
    assert found.left_s == pytest.approx(1000, abs=20)
    assert [tier.get("key") for tier in tiers] == [entry] * 3
    assert cache.get("key") == (MISS if value is None else value)
    ahead.by_s = 600
    found = cache.look_up("key")
    assert found is not None
    assert found.is_stale
    ahead.by_s = 1000
    assert cache.look_up("key") is None


def test_only_fresh_values_can_be_asked_for(cache: TieredCache, tiers: tuple[Tier, ...], ahead: Ahead) -> None:
    """A stale copy in memory hides no fresh one further down."""
    now = ahead()
    for tier, value, stale_s in zip(tiers, (b"l1", b"l2", b"l3"), (-2, -1, 50), strict=True):
        tier.set("key", Entry(value, now - 9, now + stale_s, now + 100))
    stale = cache.look_up("key")
    assert stale is not None
    assert (stale.value, stale.is_stale) == (b"l1", True)
    fresh = cache.look_up("key", only_fresh=True)
    assert fresh is not None
    assert (fresh.value, fresh.is_stale) == (b"l3", False)
    assert cache.get("key") == b"l3"


def test_requests_are_counted_once(cache: TieredCache, tiers: tuple[Tier, ...]) -> None:
    """By level those that the faster ones did not answer; overall each once, wherever it was answered."""
    cache.set("all", b"value", 10.0)
    cache.set("disk", b"value", 10.0, levels=["l3"])
    cache.set("nothing", None, 10.0)
    for key in ("all", "disk", "never", "nothing"):
        cache.get(key)
    cache.look_up("disk")
    cache.look_up("never", counted=False)
    cache.look_up("all", counted=False)
    assert counts(cache) == {"l1": (5, 3, 0), "l2": (2, 0, 0), "l3": (2, 1, 0)}
    assert overall(cache.statistics())[:3] == (5, 4, 0)
    assert cache.statistics()["l1"].hit_ratio == pytest.approx(0.6)


def test_uses_are_told(cache: TieredCache) -> None:
    """How often this process had it from its memory."""
    cache.set("key", b"value", 10.0)
    uses = [found.uses for found in (cache.look_up("key") for _ in range(3)) if found]
    assert uses == [1, 2, 3]


def test_memory_demotes_what_is_nowhere_else(cache: TieredCache, tiers: tuple[Tier, ...], ahead: Ahead) -> None:
    """With the time that is left, to the next tier; what that has already is not written again."""
    cache.set("only here", b"a" * 1000, 60.0, levels=["l1"])
    cache.set("everywhere", b"b" * 1000, 60.0)
    cache.set("expired", b"c" * 1000, 20.0, levels=["l1"])
    tiers[1].delete("everywhere")
    before = tiers[0].get("only here")
    ahead.by_s = 20
    for number in range(100):
        cache.set(f"fill {number}", b"d" * 2000, 60.0, levels=["l1"])
    assert holders(tiers, "only here") == "l2"
    assert tiers[1].get("only here") == before
    assert holders(tiers, "everywhere") == "l3"
    assert holders(tiers, "expired") == ""
    assert all(cache.get(f"fill {number}") is not MISS for number in range(100))


def test_a_demoted_value_replaces_an_older_one(cache: TieredCache, tiers: tuple[Tier, ...]) -> None:
    """What a slower tier still has from before does not come back once memory lets the newer one go."""
    for key, written in (("key", b"old"), ("other", b"theirs")):
        cache.set(key, written, 60.0, levels=["l2"])
    cache.set("key", b"new", 60.0, levels=["l1"])
    now = tiers[0].get("key")
    assert now is not MISS
    tiers[0].set("other", now._replace(made_at=now.made_at - 10))
    for number in range(100):
        cache.set(f"fill {number}", b"d" * 2000, 60.0, levels=["l1"])
    assert tiers[0].get("key") is MISS
    assert (cache.get("key"), cache.get("other")) == (b"new", b"theirs")


def test_what_the_store_missed_is_demoted_later(tmp_path: Path, own_site: Site) -> None:
    """A value that was set while L2 was away gets there when memory lets it go."""
    client, clock = brief(own_site.store_url), Clock()
    clock.now = time.time()  # and no later, however long a server takes to start
    tiers = (MemoryTier(3 * (ENTRY_BYTES + 1200), clock=clock), SharedTier(client, clock=clock))
    cache = TieredCache(tiers[0], tiers[1:], clock=clock)
    cache.set("key", b"a" * 1000, 60.0)
    assert counts(cache)["l2"][2] == 1
    with own_site.server("store"):
        for number in range(9):
            cache.set(str(number), b"b" * 1000, 60.0)
        assert holders(tiers, "0") == "", "the tier still rested"
        clock.now += REST_S
        for number in range(9):
            cache.set(str(number), b"b" * 1000, 60.0)
        assert cache.get("8") is not MISS
        assert holders(tiers, "0") == "l2"
    client.close()


def test_an_older_value_is_never_promoted_over_a_newer(tiers: tuple[Tier, ...], ahead: Ahead) -> None:
    """What is read from a slow tier while another caller sets the key does not take the new value's place."""
    memory, shared, _ = tiers

    class Slow(SharedTier):
        def get(self, key: str) -> Entry:  # type: ignore[override]
            found = super().get(key)
            cache.set(key, b"new", 60.0)
            return found  # type: ignore[return-value]

    shared.set("key", Entry(b"old", ahead() - 1, ahead() + 60, ahead() + 60))
    slow = Slow(shared._redis, clock=ahead)  # type: ignore[attr-defined]
    cache = TieredCache(memory, [slow], clock=ahead)  # type: ignore[arg-type]
    assert cache.get("key") in {b"old", b"new"}
    assert cache.get("key") == b"new"


@given(draw=st.floats(0, 1, exclude_max=True), ratio=st.floats(0, 1), ttl_s=st.floats(0.1, 10 * LONGEST_TTL_S))
def test_jitter_shortens_within_its_ratio(draw: float, ratio: float, ttl_s: float) -> None:
    """Never longer than asked for, never shorter than the ratio allows; nor longer than tags live."""
    clock, memory = Clock(), MemoryTier(10_000, clock=lambda: 0.0)
    cache = TieredCache(memory, clock=clock, draw=lambda: draw)
    cache.set("key", b"value", ttl_s, jitter_ratio=ratio, stale_s=LONGEST_TTL_S)
    entry = memory.get("key")
    assert entry is not MISS
    longest = min(ttl_s, LONGEST_TTL_S)
    assert longest * (1 - ratio) - 1e-6 <= entry.stale_at - clock.now <= longest + 1e-6
    assert entry.stale_at - clock.now == pytest.approx(longest * (1 - ratio * draw), abs=1e-6)
    assert entry.stale_at <= entry.expires_at <= clock.now + LONGEST_TTL_S + 1e-6


def test_levels_are_cleared_one_by_one(cache: TieredCache, tiers: tuple[Tier, ...]) -> None:
    """And say what they held."""
    for key in ("a", "b"):
        cache.set(key, b"value", 10.0)
    for level, left in (("l2", "l1 l3"), ("l1", "l3"), ("l3", "")):
        assert cache.clear(level) == 2  # type: ignore[arg-type]
        assert holders(tiers, "a") == left


def test_delete_forgets_in_all(cache: TieredCache, tiers: tuple[Tier, ...]) -> None:
    """No tier holds the key afterwards, and other keys stay."""
    for levels in (None, ["l1"], ["l3"]):
        cache.set("key", b"value", 10.0, levels=levels)  # type: ignore[arg-type]
        cache.set("other", b"value", 10.0)
        assert cache.delete("key") is True
        assert (holders(tiers), holders(tiers, "other")) == ("", "l1 l2 l3")


def test_sweeping_reaches_all(cache: TieredCache, ahead: Ahead) -> None:
    """What has expired takes no room, in memory at least."""
    cache.set("key", b"value", 10.0, levels=["l1"])
    ahead.by_s = 10
    assert cache.sweep() == 1


def test_a_damaged_entry_does_not_make_its_tier_rest(
    cache: TieredCache, store: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """It is one miss and one fault, gone afterwards; its neighbours are found."""
    cache.set("good", b"value", 10.0, levels=["l2"])
    store.set(f"{PREFIX}bad", b"no frame")
    with caplog.at_level(logging.WARNING, logger="cache.tiered"):
        assert cache.get("bad") is MISS
    assert "l2" in caplog.text
    assert cache.get("bad") is MISS
    assert cache.get("good") == b"value"
    assert counts(cache)["l2"] == (3, 1, 1)
