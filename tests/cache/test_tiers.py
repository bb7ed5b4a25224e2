"""The contract of a tier, held by each of them with each of their policies."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import redis
from caching import Clock
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from processes import until

from cache.disk import DiskTier
from cache.memory import MemoryTier
from cache.policies import PolicyName
from cache.shared import SharedTier
from cache.tier import MISS, Entry, Miss, Stamp, Tier

LIMIT_BYTES = 32_000_000
LONG_S, SHORT_S = 600.0, 0.03
POLICIES = get_args(PolicyName)
KINDS = [("memory", policy) for policy in POLICIES] + [("shared", "lru")] + [("disk", policy) for policy in POLICIES]
NAMES = ["a", "A", "a b", "a\nb", "a\r\n", "a\x00b", "a*", "a?", "[a]", "ä", "天", "🌳", "' OR 1=1 --", "", "x" * 1024]
STAMP = (("session:1", "0123456789abcdef"), ("model:a.b-c_d", "fedcba9876543210"))


class Bench:
    """A tier, and how its time passes."""

    def __init__(self, tier: Tier, clock: Callable[[], float]) -> None:
        self.tier, self.clock = tier, clock

    def entry(self, value: bytes | None, left_s: float = LONG_S, stamp: Stamp = ()) -> Entry:
        """An entry that is made now."""
        now = self.clock()
        return Entry(value, now, now + left_s / 2, now + left_s, stamp)

    def set(self, name: str, value: bytes | None = b"value", left_s: float = LONG_S) -> None:
        """Keep a value."""
        self.tier.set(name, self.entry(value, left_s))

    def value(self, name: str) -> bytes | Miss | None:
        """The value under a name."""
        found = self.tier.get(name)
        return MISS if found is MISS else found.value

    def let_expire(self, name: str) -> None:
        """Let pass the short time of what is kept under the name."""
        if isinstance(self.clock, Clock):
            self.clock.now += SHORT_S
        until(lambda: self.tier.get(name) is MISS, f"{name!r} expires", 10)


@pytest.fixture(params=KINDS, ids="-".join)
def bench(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Bench:
    """Each tier in turn."""
    kind, policy = request.param
    if kind == "memory":
        return Bench(MemoryTier(LIMIT_BYTES, policy, clock), clock)
    if kind == "disk":
        return Bench(DiskTier(tmp_path / "disk", LIMIT_BYTES, policy), time.time)
    client: redis.Redis = request.getfixturevalue("store")
    return Bench(SharedTier(client), time.time)


def test_an_unknown_key_is_a_miss(bench: Bench) -> None:
    """A key that was never set is MISS."""
    assert bench.value("key") is MISS


@pytest.mark.parametrize(
    "value",
    [b"value", b"", None, bytes(range(256)), b"a long text " * 1000, random.Random(1).randbytes(5_000_000)],
    ids=["text", "empty", "nothing", "every byte", "long", "megabytes"],
)
@pytest.mark.parametrize("stamp", [(), STAMP], ids=["free", "stamped"])
def test_what_was_set_is_got(bench: Bench, value: bytes | None, stamp: Stamp) -> None:
    """Value, times and stamp come back exactly, the empty value and the negative result among them."""
    entry = bench.entry(value, stamp=stamp)
    bench.tier.set("key", entry)
    assert bench.tier.get("key") == entry


def test_a_value_is_replaced(bench: Bench) -> None:
    """The latest value counts, whatever its size, and its time."""
    for value in (b"old", bytes(100_000), None, b"new"):
        bench.set("key", value)
        assert bench.value("key") == value
    bench.set("key", b"short", SHORT_S)
    bench.let_expire("key")
    bench.set("key", b"again")
    assert bench.value("key") == b"again"


def test_an_entry_expires(bench: Bench) -> None:
    """When its time has passed an entry is MISS, and its neighbour stays."""
    bench.set("long", b"value")
    bench.set("short", b"value", SHORT_S)
    bench.let_expire("short")
    assert bench.value("long") == b"value"


def test_what_has_expired_is_not_kept(bench: Bench) -> None:
    """An entry without any time left is never found."""
    bench.set("key", b"value", 0.0)
    assert bench.value("key") is MISS


def test_adding_keeps_what_there_is(bench: Bench) -> None:
    """A key is added only where there is none, a negative result counting as one."""
    bench.tier.add("key", bench.entry(b"one"))
    bench.tier.add("key", bench.entry(b"two"))
    assert bench.value("key") == b"one"
    bench.set("nothing", None)
    bench.tier.add("nothing", bench.entry(b"something"))
    assert bench.value("nothing") is None


def test_adding_replaces_what_has_expired(bench: Bench) -> None:
    """An expired entry is none."""
    bench.set("key", b"old", SHORT_S)
    bench.let_expire("key")
    bench.tier.add("key", bench.entry(b"new"))
    assert bench.value("key") == b"new"


def test_a_deleted_key_is_a_miss(bench: Bench) -> None:
    """Deleting forgets one key and no other, and says whether it was held."""
    bench.set("gone")
    bench.set("kept")
    assert bench.tier.delete("gone") is True
    assert bench.tier.delete("gone") is False
    assert bench.tier.delete("never") is False
    assert [bench.value(name) for name in ("gone", "kept")] == [MISS, b"value"]


def test_clearing_forgets_all(bench: Bench) -> None:
    """And says how many entries that were; the tier goes on."""
    assert bench.tier.clear() == 0
    for number in range(700):
        bench.set(str(number), b"" if number % 2 else None)
    assert bench.tier.clear() == 700
    assert [bench.value(str(number)) for number in range(700)] == [MISS] * 700
    bench.set("key")
    assert (bench.value("key"), bench.tier.clear()) == (b"value", 1)


def test_sweeping_leaves_the_living(bench: Bench) -> None:
    """What has expired takes no room afterwards, and what has not stays."""
    for number in range(5):
        bench.set(f"short {number}", b"value", SHORT_S)
    bench.set("long")
    if isinstance(bench.clock, Clock):
        bench.clock.now += SHORT_S
    kept = bench.tier.size().entries  # one may have been late
    swept = 0

    def is_swept() -> bool:
        nonlocal swept
        swept += bench.tier.sweep()
        return bench.tier.size().entries == 1

    until(is_swept, "only the living takes room", 10)
    assert swept == (0 if isinstance(bench.tier, SharedTier) else kept - 1)
    assert bench.value("long") == b"value"


def test_its_size_is_told(bench: Bench) -> None:
    """Entries are counted, bytes are those of the values at least, and nothing was evicted."""
    empty = bench.tier.size()
    for number in range(20):
        bench.set(str(number), random.Random(number).randbytes(50_000))
    full = bench.tier.size()
    assert (empty.entries, full.entries) == (0, 20)
    assert full.bytes - empty.bytes >= 20 * 50_000
    assert full.evictions == empty.evictions


def test_keys_may_hold_any_characters(bench: Bench) -> None:
    """Keys differ by every character."""
    for name in NAMES:
        bench.set(name, name.encode())
    assert [bench.value(name) for name in NAMES] == [name.encode() for name in NAMES]
    assert [bench.tier.delete(name) for name in NAMES] == [True] * len(NAMES)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.characters(), max_size=30))
@example(name="\ud800")
@example(name="a\udfff\n")
def test_any_text_is_a_key(bench: Bench, name: str) -> None:
    """Lone surrogates included, which JSON may bring and UTF-8 does not know."""
    bench.set(name)
    assert bench.value(name) == b"value"
    bench.tier.add(name, bench.entry(b"other"))
    assert bench.tier.delete(name)


def test_many_threads_may_share_it(bench: Bench, in_threads: Callable[..., list[object]]) -> None:
    """Nobody finds another key's value, and nothing is raised."""

    def work(number: int) -> bool:
        for step in range(20):
            name = str((number + step) % 7)
            bench.set(name, name.encode() * 50)
            if bench.value(name) not in {MISS, name.encode() * 50}:
                return False
            if step % 5 == 0:
                bench.tier.delete(name)
        return True

    assert in_threads(work, 8) == [True] * 8


def test_a_miss_prints_its_name() -> None:
    """The sentinel says what it is."""
    assert repr(MISS) == "MISS"
