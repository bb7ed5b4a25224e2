"""The contract of a tier, held by each of them, and what is particular to one."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import get_args

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cache.memory import MemoryTier
from cache.policies import PolicyName
from cache.shared import SharedTier
from cache.tier import MISS, Entry, Tier, TierFault

LONG_S = 60.0
SHORT_S = 0.05


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Bench:
    """A tier, how its time passes, and keys that no other test uses."""

    tier: Tier
    wait: Callable[[float], None]
    prefix: str = field(default_factory=lambda: uuid.uuid4().hex)

    def key(self, name: str = "key") -> str:
        return f"{self.prefix}:{name}"


@pytest.fixture
def client(store_url: str) -> Iterator[redis.Redis]:
    """A client of the farm's store that leaves bytes as they are."""
    client = redis.Redis.from_url(store_url)
    yield client
    client.close()


@pytest.fixture(params=[*get_args(PolicyName), "shared"])
def bench(request: pytest.FixtureRequest) -> Bench:
    """Each tier in turn."""
    if request.param == "shared":
        return Bench(SharedTier(request.getfixturevalue("client")), time.sleep)
    clock = Clock()
    return Bench(MemoryTier(1_000_000, request.param, clock), clock.pass_)


def value(bench: Bench, name: str = "key") -> object:
    """The value under a key, or MISS."""
    found = bench.tier.get(bench.key(name))
    return found if found is MISS else found.value


def test_an_unknown_key_is_a_miss(bench: Bench) -> None:
    """A key that was never set is MISS."""
    assert bench.tier.get(bench.key()) is MISS


@pytest.mark.parametrize(
    "content",
    [b"value", b"", bytes(range(256)), b"a long text " * 1000],
    ids=["text", "empty", "every byte", "long"],
)
def test_what_was_set_is_got(bench: Bench, content: bytes) -> None:
    """A value comes back byte for byte, the empty one among them."""
    bench.tier.set(bench.key(), Entry(content, LONG_S))
    assert value(bench) == content


def test_the_time_left_is_told(bench: Bench) -> None:
    """An entry comes with the seconds that are left of its time."""
    bench.tier.set(bench.key(), Entry(b"value", LONG_S))
    bench.wait(0.01)
    found = bench.tier.get(bench.key())
    assert found is not MISS
    assert 0 < found.ttl_s < LONG_S


def test_an_entry_expires(bench: Bench) -> None:
    """When its time has passed an entry is MISS, and its neighbour stays."""
    bench.tier.set(bench.key("short"), Entry(b"value", SHORT_S))
    bench.tier.set(bench.key("long"), Entry(b"value", LONG_S))
    bench.wait(2 * SHORT_S)
    assert value(bench, "short") is MISS
    assert value(bench, "long") == b"value"


def test_a_deleted_key_is_a_miss(bench: Bench) -> None:
    """Deleting forgets one key and no other."""
    bench.tier.set(bench.key("gone"), Entry(b"value", LONG_S))
    bench.tier.set(bench.key("kept"), Entry(b"value", LONG_S))
    bench.tier.delete(bench.key("gone"))
    assert value(bench, "gone") is MISS
    assert value(bench, "kept") == b"value"


def test_deleting_an_unknown_key_does_nothing(bench: Bench) -> None:
    """A key that is not held may be deleted."""
    bench.tier.delete(bench.key())
    assert value(bench) is MISS


def test_a_value_is_replaced(bench: Bench) -> None:
    """The latest value counts, and its time."""
    bench.tier.set(bench.key(), Entry(b"old", SHORT_S))
    bench.tier.set(bench.key(), Entry(b"new", LONG_S))
    bench.wait(2 * SHORT_S)
    assert value(bench) == b"new"


def test_a_shorter_time_replaces_a_longer_one(bench: Bench) -> None:
    """A value that is set again with less time expires by the new time."""
    bench.tier.set(bench.key(), Entry(b"old", LONG_S))
    bench.tier.set(bench.key(), Entry(b"new", SHORT_S))
    bench.wait(2 * SHORT_S)
    assert value(bench) is MISS


def test_keys_may_hold_any_characters(bench: Bench) -> None:
    """Keys differ by every character: spaces, line breaks, stars and letters beyond ASCII."""
    names = ["a b", "a\nb", "a*", "a", "ä", "天"]
    for name in names:
        bench.tier.set(bench.key(name), Entry(name.encode(), LONG_S))
    assert [value(bench, name) for name in names] == [name.encode() for name in names]


def test_memory_counts_time_by_its_clock() -> None:
    """An entry lasts until its time is up by the clock that was given, and not to that very moment."""
    clock = Clock()
    tier = MemoryTier(1000, clock=clock)
    tier.set("key", Entry(b"value", 10.0))
    clock.now += 9.5
    assert tier.get("key") == Entry(b"value", 0.5)
    clock.now += 0.5
    assert tier.get("key") is MISS


def test_memory_is_bounded_in_bytes() -> None:
    """However much is set, the values that are held are no more than the limit."""
    tier = MemoryTier(1000, clock=Clock())
    for n in range(100):
        tier.set(str(n), Entry(bytes(100), LONG_S))
    held = [n for n in range(100) if tier.get(str(n)) is not MISS]
    assert 0 < 100 * len(held) <= 1000
    assert held[-1] == 99


def test_memory_forgets_the_least_recently_used() -> None:
    """An entry that was read lately outlives one that was only set later."""
    tier = MemoryTier(1800, clock=Clock())
    for n in range(3):
        tier.set(str(n), Entry(bytes(200), LONG_S))
    tier.get("0")
    for n in range(3, 5):
        tier.set(str(n), Entry(bytes(200), LONG_S))
    assert [tier.get(str(n)) is MISS for n in range(5)] == [False, True, False, False, False]


def test_memory_does_not_keep_what_is_larger_than_itself() -> None:
    """A value over the limit is not held, and neither is what it replaces; the others stay."""
    tier = MemoryTier(1000, clock=Clock())
    tier.set("key", Entry(b"old", LONG_S))
    tier.set("other", Entry(b"other", LONG_S))
    tier.set("key", Entry(bytes(1001), LONG_S))
    assert tier.get("key") is MISS
    assert tier.get("other") == Entry(b"other", LONG_S)


def test_a_shared_value_is_seen_by_another_process(client: redis.Redis, store_url: str) -> None:
    """What one client's tier sets another's gets."""
    other = redis.Redis.from_url(store_url)
    key = uuid.uuid4().hex
    SharedTier(client, compress=True).set(key, Entry(b"value " * 1000, LONG_S))
    found = SharedTier(other, compress=False).get(key)
    other.close()
    assert found is not MISS
    assert found.value == b"value " * 1000


def test_a_shared_entry_expires_on_the_server(client: redis.Redis) -> None:
    """The server itself holds the entry's time, under the cache's own prefix."""
    key = uuid.uuid4().hex
    SharedTier(client).set(key, Entry(b"value", LONG_S))
    assert 0 < client.pttl(f"echo:cache:{key}") <= 1000 * LONG_S


@pytest.mark.parametrize("compress", [True, False])
def test_the_shared_tier_compresses_when_told(client: redis.Redis, compress: bool) -> None:
    """A compressible value takes less room on the server, unless compression is off."""
    key = uuid.uuid4().hex
    SharedTier(client, compress=compress).set(key, Entry(bytes(10_000), LONG_S))
    assert (client.strlen(f"echo:cache:{key}") < 1000) == compress


def test_a_damaged_shared_value_is_a_miss_and_gone(client: redis.Redis) -> None:
    """Bytes on the server that are no frame are not found twice; the tier itself is well."""
    key = uuid.uuid4().hex
    client.set(f"echo:cache:{key}", b"no frame", px=60_000)
    assert SharedTier(client).get(key) is MISS
    assert not client.exists(f"echo:cache:{key}")


def test_a_shared_value_without_a_time_is_a_miss(client: redis.Redis) -> None:
    """Something under the key that never expires is not the cache's."""
    key = uuid.uuid4().hex
    SharedTier(client).set(key, Entry(b"value", LONG_S))
    client.persist(f"echo:cache:{key}")
    assert SharedTier(client).get(key) is MISS
    client.delete(f"echo:cache:{key}")


@pytest.mark.parametrize("call", ["get", "set", "delete"])
def test_a_server_that_is_away_is_a_fault(call: str) -> None:
    """Every method raises TierFault when nobody answers."""
    nobody = redis.Redis(port=1, retry=Retry(NoBackoff(), 0))
    tier = SharedTier(nobody)
    with pytest.raises(TierFault):
        tier.set("key", Entry(b"value", 1.0)) if call == "set" else getattr(tier, call)("key")
    nobody.close()


def test_a_miss_prints_its_name() -> None:
    """The sentinel says what it is."""
    assert repr(MISS) == "MISS"
