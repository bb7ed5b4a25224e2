"""Tags over a real server: what they make void, for this process and for others, and what is known while it is away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import redis
import second
from caching import Another, Clock
from processes import until

from cache.changes import Change, Changes
from cache.memory import MemoryTier
from cache.tags import Tags
from cache.tier import TierFault
from cache.tiered import TieredCache
from echo_tasks import connections

TTL_S = 600.0


class Process:
    """What one process has: a client, its changes, tags, and a cache in memory."""

    def __init__(self, url: str, connect: Callable[[str], redis.Redis] = connections.impatient) -> None:
        self.client = connect(url)
        self.changes = Changes(self.client)
        self.tags = Tags(self.client, self.changes)
        self.memory = MemoryTier(1_000_000)
        self.cache = TieredCache(self.memory, tags=self.tags, changes=self.changes)
        self.changes.start()
        until(self.changes.are_heard, "changes are heard")

    def keep(self, key: str, *tags: str) -> None:
        """Keep a value with the tags."""
        stamp = self.cache.stamp(tags, key)
        assert stamp is not None
        self.cache.set(key, b"value", TTL_S, stamp=stamp)

    def has(self, key: str) -> bool:
        """Whether there is a good value."""
        return self.cache.look_up(key) is not None

    def stop(self) -> None:
        """End it."""
        self.changes.stop()
        self.client.close()


@pytest.fixture(scope="module")
def mine(broker_url: str) -> Iterator[Process]:
    """This process; tests keep apart by their tags."""
    process = Process(broker_url)
    yield process
    process.stop()


@pytest.fixture(scope="module")
def theirs(broker_url: str) -> Iterator[Process]:
    """Another one, as far as the server can tell."""
    process = Process(broker_url)
    yield process
    process.stop()


def test_a_value_is_good_until_one_of_its_tags_is_not(mine: Process, prefix: str) -> None:
    """Any of its tags, and no tag of others."""
    mine.memory.clear()
    for key, tags in {"a": ["x"], "b": ["x", "y"], "c": ["y"], "d": []}.items():
        mine.keep(key, *(f"{prefix}{tag}" for tag in tags))
    assert [mine.has(key) for key in "abcd"] == [True] * 4
    mine.tags.invalidate([f"{prefix}x"])
    assert [mine.has(key) for key in "abcd"] == [False, False, True, True]
    assert mine.memory.size().entries == 2, "what is void takes no room"


def test_an_invalidation_during_a_computation_wins(mine: Process, theirs: Process, prefix: str) -> None:
    """A value whose stamp was taken before is void from the start, whoever said so."""
    for process in (mine, theirs):
        stamp = mine.tags.stamp([prefix], "key")
        process.tags.invalidate([prefix])
        mine.cache.set("key", b"value", TTL_S, stamp=stamp)
        until(lambda: not mine.has("key"), "it is heard", 5)
    mine.keep("key", prefix)
    assert mine.has("key")


def test_renewed_tags_are_current(mine: Process, prefix: str) -> None:
    """What is stamped by the renewal itself is good, and all before is void."""
    before = mine.tags.stamp([prefix], "key")
    assert mine.tags.are_current(before)
    renewed = mine.tags.renew([prefix])
    assert (mine.tags.are_current(before), mine.tags.are_current(renewed)) == (False, True)
    assert mine.tags.stamp([prefix], "key") == renewed


def test_one_void_tag_of_two_is_enough_for_a_process_that_knows_neither(
    mine: Process, theirs: Process, prefix: str
) -> None:
    """It asks the server, whose word is about both."""
    stamp = mine.tags.renew([f"{prefix}x", f"{prefix}y"])
    mine.tags.renew([f"{prefix}x"])
    assert theirs.tags.are_current(stamp) is False
    assert theirs.tags.are_current(stamp[1:]) is True


def test_nothing_brings_an_old_version_back(mine: Process, theirs: Process, broker: redis.Redis, prefix: str) -> None:
    """A tag whose row is lost has no good values, even once it has a row again."""
    before = mine.tags.stamp([prefix], "key")
    broker.delete(f"echo:tag:{prefix}")
    assert not theirs.tags.are_current(before)
    after = theirs.tags.stamp([prefix], "key")
    assert before != after
    assert not theirs.tags.are_current(before)
    assert theirs.tags.are_current(after)


def test_keys_are_counted_once(mine: Process, theirs: Process, prefix: str) -> None:
    """An invalidation tells how many keys were stamped since the last one, about; several tags count as one."""
    for process in (mine, theirs):
        for number in range(50):
            process.tags.stamp([f"{prefix}a", f"{prefix}b"], f"{number}\ud800")
    mine.tags.stamp([f"{prefix}b"], "one more")
    assert mine.tags.invalidate([f"{prefix}a", f"{prefix}b"]) == pytest.approx(51, abs=2)
    assert mine.tags.invalidate([f"{prefix}a", f"{prefix}b"]) == 0
    assert mine.tags.invalidate([]) == 0


def test_no_tag_is_in_anothers_way(mine: Process, prefix: str) -> None:
    """Tags are apart from one another, and from what is counted of them."""
    names = [prefix, f"{prefix}:keys", f"{prefix}:keys:keys"]
    stamps = [mine.tags.stamp([name], "key") for name in names]
    assert all(mine.tags.are_current(stamp) for stamp in stamps)
    assert mine.tags.invalidate([names[1]]) == 1
    assert [mine.tags.are_current(stamp) for stamp in stamps] == [True, False, True]


@pytest.mark.parametrize("wrong", ["", "a b", "a\n", "a\tb", "ä", "a*", "x" * 161])
def test_what_is_no_tag_is_refused(mine: Process, wrong: str) -> None:
    """By ValueError, and nothing is written."""
    for call in (mine.tags.renew, mine.tags.invalidate):
        with pytest.raises(ValueError, match="is no tag"):
            call(["good", wrong])
    with pytest.raises(ValueError, match="is no tag"):
        mine.cache.stamp([wrong], "key")


def test_another_process_hears_of_it(mine: Process, another: Another, broker_url: str, prefix: str) -> None:
    """A real one: what it holds in memory is void soon after."""
    process = another()
    process.submit(second.tagged_keep, broker_url, "key", prefix).result()
    assert process.submit(second.tagged_has, "key").result()
    began = time.perf_counter()
    mine.tags.invalidate([prefix])
    until(lambda: not process.submit(second.tagged_has, "key").result(), "its copy is void", 5)
    print(f"void after {1000 * (time.perf_counter() - began):.1f} ms")


def test_changes_told_out_of_order_do_no_harm(mine: Process, theirs: Process, broker: redis.Redis, prefix: str) -> None:
    """The server's word counts: an older version that is told of late is not taken for the newer one."""
    (old,) = theirs.tags.renew([prefix])
    mine.keep("old", prefix)
    assert mine.has("old")
    theirs.tags.renew([prefix])
    until(lambda: not mine.has("old"), "the newer version is known")
    mine.keep("new", prefix)
    theirs.changes.tell(Change(dict([old])))
    theirs.changes.tell(Change({f"{prefix}end": "1"}, ["l2"]))
    settled = mine.tags.stamp([f"{prefix}end"], "key")
    assert mine.tags.are_current(settled)
    theirs.tags.renew([f"{prefix}end"])
    until(lambda: not mine.tags.are_current(settled), "all of it is heard")
    assert (mine.has("old"), mine.has("new")) == (False, True)


def test_processes_agree_after_a_race(
    mine: Process, theirs: Process, prefix: str, in_threads: Callable[..., list[Any]]
) -> None:
    """Of renewals at the same time the server's last wins, for both."""
    for _ in range(20):
        first = mine.tags.stamp([prefix], "key")
        assert mine.tags.are_current(first)
        assert theirs.tags.are_current(first)
        one, other = in_threads(lambda number: [mine, theirs][number].tags.renew([prefix]), 2)
        now = mine.tags.stamp([prefix], "key")
        for process in (mine, theirs):
            until(partial(process.tags.are_current, now), "the last one is current", 5)
            assert process.tags.are_current(one) == (one == now)
            assert process.tags.are_current(other) == (other == now)


def test_without_tags_stamped_values_are_misses(clock: Clock, mine: Process, prefix: str) -> None:
    """A cache that cannot tell serves nothing that may be void, and stamps nothing."""
    cache = TieredCache(MemoryTier(10_000, clock=clock), clock=clock)
    cache.set("key", b"value", TTL_S, stamp=mine.tags.stamp([prefix], "key"))
    assert cache.look_up("key") is None
    assert cache.stamp([prefix], "key") is None
    assert cache.stamp([], "key") == ()


def test_a_server_that_is_away_is_a_fault() -> None:
    """But for the question whether a stamp is current, which is answered by no."""
    with connections.impatient("redis://127.0.0.1:1") as nobody:
        tags = Tags(nobody, Changes(nobody))
        for call in (lambda: tags.stamp(["tag"], "key"), lambda: tags.renew(["tag"]), lambda: tags.invalidate(["tag"])):
            with pytest.raises(TierFault):
                call()
        assert not tags.are_current((("tag", "1"),))
        assert tags.stamp([], "key") == ()
        assert tags.are_current(())
