"""What is particular to the shared tier: what lies on the server, for how long, and what others put there."""

from __future__ import annotations

import time

import pytest
import redis

from cache.shared import SharedTier
from cache.tier import MISS, DamagedEntry, Entry

NAME = "echo:cache:key"


def entry(value: bytes | None = b"value", left_s: float = 60.0) -> Entry:
    """An entry that is made now."""
    now = time.time()
    return Entry(value, now, now + left_s, now + left_s)


def test_the_server_holds_the_time(store: redis.Redis) -> None:
    """Under the cache's own prefix, so that it expires without anybody's doing."""
    SharedTier(store).set("key", entry())
    assert 0 < store.pttl(NAME) <= 60_000


@pytest.mark.parametrize("compress", [True, False])
def test_it_compresses_when_told(store: redis.Redis, compress: bool) -> None:
    """Other processes read it in any case, and what was saved is told."""
    kept = entry(bytes(10_000))
    tier = SharedTier(store, compress=compress)
    tier.set("key", kept)
    assert (store.strlen(NAME) < 1000) == compress
    assert SharedTier(store, compress=not compress).get("key") == kept
    assert (tier.size().saved_bytes > 9000) == compress


def test_what_was_not_written_saves_nothing(store: redis.Redis) -> None:
    """Neither what another one had added before, nor what had expired."""
    tier = SharedTier(store)
    tier.set("key", entry(b""))
    tier.add("key", entry(bytes(10_000)))
    tier.set("old", entry(bytes(10_000), 0.0))
    assert tier.size().saved_bytes == 0


@pytest.mark.parametrize("junk", [b"", b"no frame", bytes(100)])
def test_a_damaged_value_is_told_once(store: redis.Redis, junk: bytes) -> None:
    """And is gone then."""
    store.set(NAME, junk)
    with pytest.raises(DamagedEntry):
        SharedTier(store).get("key")
    assert SharedTier(store).get("key") is MISS
    assert not store.exists(NAME)


def test_clearing_spares_what_is_not_the_caches(store: redis.Redis) -> None:
    """Other keys of the server stay."""
    tier = SharedTier(store)
    store.set("echo:other", b"")
    for number in range(3):
        tier.set(str(number), entry())
    assert tier.clear() == 3
    assert store.exists("echo:other")


def test_an_entry_expires_by_its_own_time(store: redis.Redis) -> None:
    """Even where the server keeps it longer."""
    tier = SharedTier(store, clock=lambda: time.time() + 61)
    SharedTier(store).set("key", entry())
    store.persist(NAME)
    assert tier.get("key") is MISS
