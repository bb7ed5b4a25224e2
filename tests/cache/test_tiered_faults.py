"""A tier that is away costs only itself: nobody who asks the cache is failed, and it is left alone for a while."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from caching import Clock, brief
from processes import Site
from test_tiered import Ahead, counts, holders

from cache.disk import DiskTier
from cache.memory import MemoryTier
from cache.shared import SharedTier
from cache.tier import MISS, TierFault
from cache.tiered import REST_S, TieredCache


@contextmanager
def shared_tier(site: Site) -> Iterator[SharedTier]:
    """A tier on the site's store, whether that runs or not."""
    client = brief(site.store_url)
    yield SharedTier(client)
    client.close()


@pytest.mark.parametrize("away", ["l2", "l3", "l2 l3"])
def test_a_tier_that_is_away_costs_only_itself(tmp_path: Path, own_site: Site, store: object, away: str) -> None:
    """The others are written, read and deleted from; nothing is raised."""
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "below" if "l3" in away else tmp_path / "disk"
    with shared_tier(own_site) as gone:
        shared = gone if "l2" in away else SharedTier(store)  # type: ignore[arg-type]
        tiers = (MemoryTier(100_000), shared, DiskTier(folder, 10_000_000))
        well = tuple(tier for tier in tiers if tier.name not in away)
        cache = TieredCache(tiers[0], tiers[1:])
        cache.set("key", b"value", 60.0)
        assert holders(well) == " ".join(tier.name for tier in well)
        tiers[0].clear()
        assert cache.get("key") == (b"value" if len(well) > 1 else MISS)
        assert cache.delete("key") is (len(well) > 1)
        assert holders(well) == ""
        assert cache.sweep() == cache.clear("l2") == 0
        sizes = {level: numbers.size is None for level, numbers in cache.statistics().items()}
        assert sizes == {level: level in away for level in ("l1", "l2", "l3")}


def test_a_server_that_hangs_costs_one_caller_its_timeout(own_site: Site) -> None:
    """Then it is left alone, until its rest is over."""
    ahead = Ahead()
    with own_site.server("store") as server, shared_tier(own_site) as shared:
        cache = TieredCache(MemoryTier(0), [shared], clock=ahead)
        cache.set("key", b"value", 600.0)
        assert cache.get("key") == b"value"
        server.send(signal.SIGSTOP)
        assert [cache.get("key") for _ in range(50)] == [MISS] * 50
        assert counts(cache)["l2"] == (51, 1, 1)
        ahead.by_s += REST_S + 1
        assert [cache.get("key") for _ in range(50)] == [MISS] * 50
        assert counts(cache)["l2"] == (101, 1, 2)
        server.send(signal.SIGCONT)
        ahead.by_s += REST_S + 1
        assert cache.get("key") == b"value"


@pytest.mark.parametrize("call", ["get", "delete", "set", "add", "clear", "size"])
def test_a_server_that_is_away_is_a_fault(clock: Clock, own_site: Site, call: str) -> None:
    """Every method of the tier says so, by TierFault."""
    kept = MemoryTier(10_000)
    TieredCache(kept).set("key", b"value", 60.0)
    arguments = {"get": ["key"], "delete": ["key"], "set": ["key", kept.get("key")], "add": ["key", kept.get("key")]}
    with shared_tier(own_site) as shared, pytest.raises(TierFault):
        getattr(shared, call)(*arguments.get(call, []))
