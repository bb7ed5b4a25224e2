"""The memory tier: its bound, what it sheds for a slower tier to keep, and what it counts."""

from __future__ import annotations

from typing import get_args

import pytest
from caching import Clock
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.memory import ENTRY_BYTES, MemoryTier
from cache.policies import PolicyName
from cache.tier import MISS, Entry

POLICIES = get_args(PolicyName)
LIMIT_BYTES = 4000

keys = st.sampled_from("abcdefgh")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), keys, st.none() | st.integers(0, 2 * LIMIT_BYTES), st.integers(1, 20), st.booleans()),
        st.tuples(st.sampled_from(["get", "delete", "add"]), keys),
        st.tuples(st.sampled_from(["sweep", "clear"])),
        st.tuples(st.just("wait"), st.integers(1, 10)),
    ),
    max_size=60,
)


def entry(clock: Clock, value: bytes | None = b"value", left_s: float = 10.0) -> Entry:
    """An entry that is made now."""
    return Entry(value, clock.now, clock.now + left_s, clock.now + left_s)


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=60)
@given(steps=steps)
def test_it_is_bounded_and_never_lies(policy: PolicyName, steps: list[tuple[object, ...]]) -> None:
    """Whatever is done: it holds no more than its limit, and finds what was put last, or nothing.

    What it sheds was put, never in a slower tier, is still good, and is not held any more.
    """
    clock = Clock()
    tier = MemoryTier(LIMIT_BYTES, policy, clock)
    latest: dict[str, tuple[Entry, bool]] = {}
    for number, (action, *given_) in enumerate(steps):
        if action == "put":
            key, size, left_s, is_deep = given_
            value = None if size is None else bytes(size)
            put = Entry(value, clock.now + number / 1000, clock.now, clock.now + left_s)
            before = latest | {key: (put, is_deep)}
            for shed, demoted in tier.put(key, put, is_deep=is_deep):
                assert before[shed] == (demoted, False)
                assert demoted.expires_at > clock.now
                assert tier.get(shed) is MISS
            latest = before
        elif action == "add":
            held = tier.get(given_[0])
            added = entry(clock)
            tier.add(given_[0], added)
            if held is MISS:
                latest[given_[0]] = added, False
        elif action == "wait":
            clock.now += given_[0]
        elif action in {"get", "delete"}:
            found = getattr(tier, action)(given_[0])
            assert (
                action == "delete"
                or found is MISS
                or (found, found.expires_at > clock.now)
                == (
                    latest[given_[0]][0],
                    True,
                )
            )
            if action == "delete":
                latest.pop(given_[0], None)
        else:
            getattr(tier, action)()
            latest = latest if action == "sweep" else {}
        size_now = tier.size()
        assert size_now.bytes <= LIMIT_BYTES
        assert size_now.bytes >= size_now.entries * ENTRY_BYTES
    for key in "abcdefgh":
        found = tier.get(key)
        assert found is MISS or found == latest[key][0]


@pytest.mark.parametrize("policy", POLICIES)
def test_keys_and_stamps_take_room_too(clock: Clock, policy: PolicyName) -> None:
    """A key of a kilobyte costs as much, and so do a stamp's tags."""
    stamp = tuple((f"{number:0160}", "0123456789abcdef") for number in range(4))
    for wide in ("x" * 1000, ""):
        tier = MemoryTier(100_000, policy, clock)
        for number in range(300):
            tier.set(f"{number} {wide}", entry(clock)._replace(stamp=() if wide else stamp))
        assert 10 < tier.size().entries < 100


@pytest.mark.parametrize("policy", POLICIES)
def test_evictions_are_counted(clock: Clock, policy: PolicyName) -> None:
    """Every entry that had to go for want of room, and no other."""
    tier = MemoryTier(LIMIT_BYTES, policy, clock)
    for number in range(100):
        tier.set(str(number), entry(clock, bytes(100)))
    assert tier.size().evictions == 100 - tier.size().entries > 80
    evicted = tier.size().evictions
    tier.delete("99")
    clock.now += 10
    tier.sweep()
    assert tier.size() == (0, 0, evicted, 0)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_replaced_value_is_not_shed(clock: Clock, policy: PolicyName) -> None:
    """What a larger value of its own key takes the place of is no eviction: it would come back as that key's value."""
    tier = MemoryTier(LIMIT_BYTES, policy, clock)
    tier.put("key", entry(clock, b"old"))
    tier.put("other", entry(clock, b"other"))
    shed = tier.put("key", entry(clock, bytes(LIMIT_BYTES - ENTRY_BYTES - 100)))
    assert ("key", entry(clock, b"old")) not in shed


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_larger_than_the_tier_is_shed_at_once(clock: Clock, policy: PolicyName) -> None:
    """A slower tier may have room for it; what it replaces is gone, and the others stay."""
    tier = MemoryTier(LIMIT_BYTES, policy, clock)
    tier.put("key", entry(clock, b"old"))
    tier.put("other", entry(clock, b"other"))
    large = entry(clock, bytes(LIMIT_BYTES))
    assert tier.put("key", large) == [("key", large)]
    assert tier.put("key", large, is_deep=True) == []
    assert tier.get("key") is MISS
    assert tier.get("other") is not MISS


def test_only_what_is_nowhere_else_is_shed(clock: Clock) -> None:
    """Neither what a slower tier has, nor what has expired."""
    tier = MemoryTier(3 * (ENTRY_BYTES + 1100), "fifo", clock)
    for key, left_s, is_deep in [("deep", 100, True), ("old", 1, False), ("only here", 100, False)]:
        tier.put(key, entry(clock, bytes(1000), left_s), is_deep=is_deep)
    clock.now += 1
    shed = [key for number in range(3) for key, _ in tier.put(str(number), entry(clock, bytes(1000)))]
    assert shed == ["only here"]


def test_uses_requests_and_hits_are_counted(clock: Clock) -> None:
    """Each time that it is asked for, but where the asking is not to be counted."""
    tier = MemoryTier(LIMIT_BYTES, clock=clock)
    assert tier.find("key") is None
    tier.add("key", entry(clock))
    tier.find("key")
    assert tier.find("key", False) is not None
    held = tier.find("key")
    assert held is not None
    assert (held.uses, tier.requests, tier.hits) == (2, 3, 2)
    clock.now += 10
    assert tier.find("key") is None
    assert (tier.requests, tier.hits) == (4, 2)


@pytest.mark.parametrize("counted", [True, False])
def test_a_rejected_entry_was_no_hit(clock: Clock, counted: bool) -> None:
    """It is held no more, and takes back the hit that it was counted as, if it was."""
    tier = MemoryTier(LIMIT_BYTES, clock=clock)
    tier.set("key", entry(clock))
    tier.find("key")
    held = tier.find("key", counted)
    tier.find("key")
    assert held is not None
    tier.reject("key", held, counted)
    assert tier.hits == 2
    assert tier.get("key") is MISS


def test_rejecting_spares_what_has_come_since(clock: Clock) -> None:
    """Another thread may have kept a good value meanwhile."""
    tier = MemoryTier(LIMIT_BYTES, clock=clock)
    tier.set("key", entry(clock, b"void"))
    held = tier.find("key")
    assert held is not None
    tier.set("key", entry(clock, b"good"))
    tier.reject("key", held)
    assert tier.get("key") == entry(clock, b"good")
